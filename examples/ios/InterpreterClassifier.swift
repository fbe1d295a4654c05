// Not compiled or run: no Swift compiler was at hand.
import CoreGraphics
import Foundation
import TensorFlowLite

/// The same by the Interpreter, of the pod TensorFlowLiteSwift.
final class InterpreterClassifier {
    private let interpreter: Interpreter
    private let labels: [String]

    init(path: String, labels: [String]) throws {
        interpreter = try Interpreter(modelPath: path)
        try interpreter.allocateTensors()
        self.labels = labels
    }

    func best(_ picture: CGImage, count: Int = 3) throws -> [(name: String, probability: Float)] {  // of upright(file)
        let shape = try interpreter.input(at: 0).shape.dimensions  // 1, height, width, channels
        try interpreter.copy(Data(covered(picture, height: shape[1], width: shape[2], channels: shape[3])), toInputAt: 0)
        try interpreter.invoke()
        let bytes = [UInt8](try interpreter.output(at: 0).data)
        let order = bytes.indices.sorted { bytes[$0] > bytes[$1] }
        return order.prefix(count).map { (labels[$0], Float(bytes[$0]) / 256) }
    }
}
