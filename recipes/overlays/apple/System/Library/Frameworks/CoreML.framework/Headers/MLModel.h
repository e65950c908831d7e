// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_MLMODEL_H
#define ORTMILL_SURFACE_MLMODEL_H

#include <Foundation/Foundation.h>
#include <CoreML/MLFeatureProvider.h>
#include <CoreML/MLModelConfiguration.h>
#include <CoreML/MLPredictionOptions.h>

/// Documentation: Core ML > MLModel
/// Availability: macOS 10.13
API_AVAILABLE(macos(10.13))
@interface MLModel : NSObject

/// Documentation: Core ML > MLModel > compileModelAtURL:error:
/// Availability: macOS 10.13
+ (NSURL *_Nullable)compileModelAtURL:(NSURL *_Nonnull)modelURL
                                error:(NSError *_Nullable *_Nullable)error
    API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLModel > modelWithContentsOfURL:configuration:error:
/// Availability: macOS 10.14
+ (instancetype _Nullable)modelWithContentsOfURL:(NSURL *_Nonnull)url
                                   configuration:(MLModelConfiguration *_Nonnull)configuration
                                           error:(NSError *_Nullable *_Nullable)error
    API_AVAILABLE(macos(10.14));

/// Documentation: Core ML > MLModel > predictionFromFeatures:options:error:
/// Availability: macOS 10.14
- (id<MLFeatureProvider> _Nullable)predictionFromFeatures:(id<MLFeatureProvider> _Nonnull)input
                                                  options:(MLPredictionOptions *_Nonnull)options
                                                    error:(NSError *_Nullable *_Nullable)error
    API_AVAILABLE(macos(10.14));

@end

#endif
