// Compiled by the tests against stubs of LiteRT and Android; not run on a phone.
package org.example.classifier

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** A file that `examples/export.sh` wrote for Android, and the labels.txt of its run, both in src/main/assets. */
class Classifier(assets: AssetManager, file: String = "model_int8_float32_softmax_batch1.tflite") : AutoCloseable {
    private val model = CompiledModel.create(assets, file, CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()
    private val labels = assets.open("labels.txt").bufferedReader().readLines()

    /** What `best` takes: Kotlin's LiteRT tells it of float32 pixels, but throws for those of uint8. */
    val shape = model.getInputTensorType("image").layout!!.dimensions.let { Shape(it[1], it[2], it[3]) }

    /** The names of the best classes for the bytes of `cover`, with their probabilities. */
    fun best(pixels: ByteArray, count: Int = 3): List<Pair<String, Float>> {
        inputs[0].writeFloat(FloatArray(pixels.size) { (pixels[it].toInt() and 255).toFloat() }) // 0 to 255, not scaled
        model.run(inputs, outputs)
        val probabilities = outputs[0].readFloat()
        return probabilities.indices.sortedByDescending { probabilities[it] }.take(count).map { labels[it] to probabilities[it] }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }
}
