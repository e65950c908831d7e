// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_MLPREDICTIONOPTIONS_H
#define ORTMILL_SURFACE_MLPREDICTIONOPTIONS_H

#include <Foundation/Foundation.h>

/// Documentation: Core ML > MLPredictionOptions
/// Availability: macOS 10.13
API_AVAILABLE(macos(10.13))
@interface MLPredictionOptions : NSObject
@end

#endif
