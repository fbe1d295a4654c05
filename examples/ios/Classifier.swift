// Not compiled or run: no Swift compiler was at hand. Written for LiteRT's Swift sources after version 2.2.0 (litert/swift).
import CoreGraphics
import LiteRT

/// A file that examples/export.sh wrote: bytes in, probabilities x 256 out.
final class Classifier {
    private let model: CompiledModel
    private let labels: [String]

    /// path: Bundle.main.path(forResource: "model_int8_softmax_batch1", ofType: "tflite"); labels: the lines of labels.txt
    init(path: String, labels: [String]) throws {
        let options = try Options()
        try options.setHardwareAccelerators([.cpu])
        model = try CompiledModel(filePath: path, environment: Environment(), options: options)
        self.labels = labels
    }

    func best(_ picture: CGImage, count: Int = 3) throws -> [(name: String, probability: Float)] {  // of upright(file)
        let shape = try model.getInputTensorType(inputIndex: 0).layout.dimensions  // 1, height, width, channels
        let inputs = try model.createInputBuffers()
        try inputs[0].write(covered(picture, height: shape[1], width: shape[2], channels: shape[3]))
        let bytes: [UInt8] = try model.run(inputs: inputs)[0].read()
        let order = bytes.indices.sorted { bytes[$0] > bytes[$1] }
        return order.prefix(count).map { (labels[$0], Float(bytes[$0]) / 256) }
    }
}
