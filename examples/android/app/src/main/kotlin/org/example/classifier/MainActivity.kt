// Compiled by the tests against stubs of Android and CameraX; not run on a phone.
package org.example.classifier

import android.Manifest
import android.os.Bundle
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import java.util.concurrent.Executors

class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private val classifier = lazy { Classifier(assets) } // made in the worker, by the first frame
    private val frames by lazy { Frames(classifier.value) { runOnUiThread { answer.text = shown(it) } } }
    private lateinit var view: PreviewView
    private lateinit var answer: TextView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        view = PreviewView(this)
        answer = TextView(this)
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                addView(answer)
                addView(view)
            }
        )
        val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { if (it) start() }
        permission.launch(Manifest.permission.CAMERA)
    }

    private fun start() {
        val future = ProcessCameraProvider.getInstance(this)
        future.addListener({ bind(future.get()) }, ContextCompat.getMainExecutor(this))
    }

    private fun bind(cameras: ProcessCameraProvider) {
        val preview = Preview.Builder().build()
        preview.setSurfaceProvider(view.surfaceProvider)
        val analysis = ImageAnalysis.Builder().setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST).build()
        analysis.setAnalyzer(worker, { image -> frames.analyze(image) })
        cameras.bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, preview, analysis)
    }

    private fun shown(best: List<Pair<String, Float>>) =
        best.joinToString { (name, probability) -> "%s %.0f %%".format(name, 100 * probability) }

    override fun onDestroy() {
        super.onDestroy()
        worker.execute { if (classifier.isInitialized()) classifier.value.close() }
        worker.shutdown()
    }
}
