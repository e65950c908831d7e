// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_MLFEATUREVALUE_H
#define ORTMILL_SURFACE_MLFEATUREVALUE_H

#include <Foundation/Foundation.h>
#include <CoreML/MLMultiArray.h>

/// Documentation: Core ML > MLFeatureValue
/// Availability: macOS 10.13
API_AVAILABLE(macos(10.13))
@interface MLFeatureValue : NSObject

/// Documentation: Core ML > MLFeatureValue > featureValueWithMultiArray:
/// Availability: macOS 10.13
+ (instancetype _Nonnull)featureValueWithMultiArray:(MLMultiArray *_Nonnull)value
    API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLFeatureValue > multiArrayValue
/// Availability: macOS 10.13
@property(readonly, nonatomic) MLMultiArray *_Nullable multiArrayValue
    API_AVAILABLE(macos(10.13));

@end

#endif
