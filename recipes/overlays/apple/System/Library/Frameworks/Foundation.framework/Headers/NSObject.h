// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSOBJECT_H
#define ORTMILL_SURFACE_NSOBJECT_H

#include <objc/NSObject.h>
#include <os/availability.h>

// The class and the protocol NSObject come from the Objective-C runtime's open header.

/// Its one method is left out: no source of ONNX Runtime calls it.
///
/// Documentation: Foundation > NSCopying
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@protocol NSCopying
@end

#endif
