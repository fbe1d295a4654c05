// Compiled by the tests against stubs of Android and CameraX; not run on a phone.
package org.example.classifier

import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.graphics.Matrix
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import java.io.File

/** A picture file, turned upright by its EXIF orientation, which BitmapFactory would not do. */
fun decoded(file: File): Bitmap = ImageDecoder.decodeBitmap(ImageDecoder.createSource(file)) { decoder, _, _ ->
    decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE // a hardware bitmap has no pixels to read
    decoder.isUnpremultipliedRequired = true // transparency must not darken the colours
}

fun pixelsOf(bitmap: Bitmap, shape: Shape): ByteArray = cover(bitmap.width, bitmap.height, shape) { row ->
    IntArray(bitmap.width).also { bitmap.getPixels(it, 0, bitmap.width, 0, row, bitmap.width, 1) }
}

/** Classifies what the camera sees. */
class Frames(private val classifier: Classifier, private val show: (List<Pair<String, Float>>) -> Unit) : ImageAnalysis.Analyzer {
    override fun analyze(image: ImageProxy) = image.use {
        val turn = Matrix().apply { postRotate(it.imageInfo.rotationDegrees.toFloat()) }
        val frame = it.toBitmap()
        val upright = Bitmap.createBitmap(frame, 0, 0, frame.width, frame.height, turn, false)
        show(classifier.best(pixelsOf(upright, classifier.shape)))
    }
}
