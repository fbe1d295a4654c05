// Reads pictures from standard input, as integers of 32 bits: width, height, the shape to cover, and pixels. Writes what `cover`
// makes of each, and then the best classes of a model that puts out its pixels.
import android.content.res.AssetManager
import java.io.DataInputStream
import org.example.classifier.Classifier
import org.example.classifier.Shape
import org.example.classifier.cover

fun main() {
    val input = DataInputStream(System.`in`.buffered())
    repeat(input.readInt()) {
        val (width, height) = input.readInt() to input.readInt()
        val shape = Shape(input.readInt(), input.readInt(), input.readInt())
        val lines = List(height) { IntArray(width) { input.readInt() } }
        System.out.write(cover(width, height, shape) { lines[it] })
    }
    Classifier(AssetManager()).use { println("${it.shape} ${it.best(byteArrayOf(3, -1, 7, 0))}") }
}
