// Compiled by the tests, and run by them on the JVM: the same pixels as Pillow's, bit for bit.
package org.example.classifier

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

/** The image that a network takes, with 1 (grey) or 3 channels. */
data class Shape(val height: Int, val width: Int, val channels: Int)

private const val BITS = 22 // of a weight, after the point

/** The pixels of a line that make one pixel of a scaled line: the first of them, and their weights. */
private class Source(val from: Int, val weights: IntArray)

/**
 * A picture scaled until it covers the shape (bilinear, with antialiasing) and cropped at its centre, in the integers of Pillow 13.
 *
 * `lineOf` gives a line of the picture as 0xAARRGGBB, whose transparency is dropped. The result has a byte for each channel of each
 * pixel.
 */
fun cover(width: Int, height: Int, shape: Shape, lineOf: (Int) -> IntArray): ByteArray {
    val ratio = shape.width.toDouble() / shape.height
    val isWide = width.toDouble() / height > ratio
    val (wide, high) = if (isWide) ratio * height to height.toDouble() else width.toDouble() to width / ratio
    val (left, top) = (width - wide) * 0.5 to (height - high) * 0.5
    val columns = sources(width, left, left + wide, shape.width)
    val rows = sources(height, top, top + high, shape.height)
    val rowsFirst = height > shape.height && height - shape.height > 2 * (width - shape.width)
    fun narrowed(line: IntArray) = narrowed(line, columns, shape.channels)
    val length = (if (rowsFirst) width else shape.width) * shape.channels
    val sums = rows.map { it to IntArray(length) { HALF } }
    for (y in rows.first().from until rows.last().run { from + weights.size }) {
        val line = channelsOf(lineOf(y), shape.channels).let { if (rowsFirst) it else narrowed(it) }
        for ((row, sum) in sums) {
            val weight = row.weights.getOrElse(y - row.from) { 0 }
            if (weight != 0) for (i in line.indices) sum[i] += weight * line[i]
        }
    }
    val lines = sums.map { (_, sum) -> IntArray(length) { rounded(sum[it]) }.let { if (rowsFirst) narrowed(it) else it } }
    return lines.flatMap { line -> line.map { it.toByte() } }.toByteArray()
}

private const val HALF = 1 shl (BITS - 1)

private fun rounded(sum: Int) = min(sum shr BITS, 255)

/** For each of `count` pixels between start and end of a line of that size, what it is made of. */
private fun sources(size: Int, start: Double, end: Double, count: Int): List<Source> {
    val (first, last) = start.toFloat() to end.toFloat()
    if (count == size && first == 0f && last == size.toFloat()) return List(count) { Source(it, intArrayOf(1 shl BITS)) }
    val scale = (last - first).toDouble() / count
    val reach = max(scale, 1.0)
    return List(count) { place ->
        val centre = first + (place + 0.5) * scale
        val from = max((centre - reach + 0.5).toInt(), 0)
        val length = min((centre + reach + 0.5).toInt(), size) - from
        val shares = DoubleArray(length) { max(1 - abs((it + from - centre + 0.5) * (1 / reach)), 0.0) }
        val sum = shares.sum()
        Source(from, IntArray(length) { (0.5 + shares[it] / sum * (1 shl BITS)).toInt() })
    }
}

private fun narrowed(line: IntArray, columns: List<Source>, channels: Int) = IntArray(columns.size * channels) { place ->
    val column = columns[place / channels]
    var sum = HALF
    for (i in column.weights.indices) sum += column.weights[i] * line[(column.from + i) * channels + place % channels]
    rounded(sum)
}

/** Red, green and blue of each pixel, or its grey. */
private fun channelsOf(line: IntArray, channels: Int) = IntArray(line.size * channels) { place ->
    val pixel = line[place / channels]
    if (channels == 1) greyOf(pixel) else pixel shr (16 - 8 * (place % 3)) and 255
}

private fun greyOf(pixel: Int): Int {
    val red = pixel shr 16 and 255
    val green = pixel shr 8 and 255
    return (red * 19595 + green * 38470 + (pixel and 255) * 7471 + 0x8000) shr 16
}
