// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_MLFEATUREPROVIDER_H
#define ORTMILL_SURFACE_MLFEATUREPROVIDER_H

#include <Foundation/Foundation.h>
#include <CoreML/MLFeatureValue.h>

/// Documentation: Core ML > MLFeatureProvider
/// Availability: macOS 10.13
API_AVAILABLE(macos(10.13))
@protocol MLFeatureProvider

/// Documentation: Core ML > MLFeatureProvider > featureValueForName:
/// Availability: macOS 10.13
- (MLFeatureValue *_Nullable)featureValueForName:(NSString *_Nonnull)featureName
    API_AVAILABLE(macos(10.13));

@end

#endif
