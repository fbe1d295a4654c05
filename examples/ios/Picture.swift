// Not compiled or run: no Swift compiler was at hand.
import CoreGraphics
import Foundation
import ImageIO

/// A picture file, turned upright by its EXIF orientation, which CGImage ignores.
func upright(_ file: URL) -> CGImage? {
    guard let source = CGImageSourceCreateWithURL(file as CFURL, nil) else { return nil }
    let options: [CFString: Any] = [
        kCGImageSourceCreateThumbnailFromImageAlways: true,
        kCGImageSourceCreateThumbnailWithTransform: true,
        kCGImageSourceThumbnailMaxPixelSize: 4096,
    ]
    return CGImageSourceCreateThumbnailAtIndex(source, 0, options as CFDictionary)
}

/// The picture scaled until it covers the size, and cropped at its centre: red, green and blue of each pixel, or its grey.
func covered(_ picture: CGImage, height: Int, width: Int, channels: Int) -> [UInt8] {
    let context = CGContext(
        data: nil, width: width, height: height, bitsPerComponent: 8, bytesPerRow: width * 4,
        space: CGColorSpace(name: CGColorSpace.sRGB)!, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)!
    let scale = max(CGFloat(width) / CGFloat(picture.width), CGFloat(height) / CGFloat(picture.height))
    let size = CGSize(width: scale * CGFloat(picture.width), height: scale * CGFloat(picture.height))
    let corner = CGPoint(x: (CGFloat(width) - size.width) / 2, y: (CGFloat(height) - size.height) / 2)
    context.interpolationQuality = .high
    context.draw(picture, in: CGRect(origin: corner, size: size))  // what is beyond the context is cut off
    let rgba = UnsafeRawBufferPointer(start: context.data!, count: height * width * 4)
    if channels == 3 { return rgba.enumerated().filter { $0.offset % 4 != 3 }.map { $0.element } }
    return stride(from: 0, to: rgba.count, by: 4).map { place in
        let (red, green, blue) = (Int(rgba[place]), Int(rgba[place + 1]), Int(rgba[place + 2]))
        return UInt8((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16)
    }
}
