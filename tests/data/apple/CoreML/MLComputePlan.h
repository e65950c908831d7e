// What 1.21.0's provider uses of MLComputePlan (macOS 14.4), which the SDK 13.3 does not have and the
// cross build's declarations leave out: with it the provider compiles its ProfileComputePlan.
// Written from Apple's public documentation (Core ML > MLComputePlan, MLModelStructure; Foundation).
// For tests/end_to_end/test_compute_plan.py alone: no wheel is built with it.
#ifndef ORTMILL_TESTS_MLCOMPUTEPLAN_H
#define ORTMILL_TESTS_MLCOMPUTEPLAN_H

#include <CoreML/CoreML.h>
#include <Foundation/Foundation.h>
#include <dispatch/dispatch.h>

@interface NSString (Comparing)
- (BOOL)isEqualToString:(NSString *_Nonnull)aString;
@end

@interface NSDictionary <KeyType, ObjectType>(Enumerating)
- (void)enumerateKeysAndObjectsUsingBlock:
    (void (^_Nonnull)(KeyType _Nonnull key, ObjectType _Nonnull obj, BOOL *_Nonnull stop))block;
@end

API_AVAILABLE(macos(14.0))
@protocol MLComputeDeviceProtocol
@end

@class MLModelStructureProgramBlock;

API_AVAILABLE(macos(14.4))
@interface MLModelStructureProgramOperation : NSObject
@property(readonly) NSString *_Nonnull operatorName;
@property(readonly) NSArray<MLModelStructureProgramBlock *> *_Nonnull blocks;
@end

API_AVAILABLE(macos(14.4))
@interface MLModelStructureProgramBlock : NSObject
@property(readonly) NSArray<MLModelStructureProgramOperation *> *_Nonnull operations;
@end

API_AVAILABLE(macos(14.4))
@interface MLModelStructureProgramFunction : NSObject
@property(readonly) MLModelStructureProgramBlock *_Nonnull block;
@end

API_AVAILABLE(macos(14.4))
@interface MLModelStructureProgram : NSObject
@property(readonly)
    NSDictionary<NSString *, MLModelStructureProgramFunction *> *_Nonnull functions;
@end

API_AVAILABLE(macos(14.4))
@interface MLModelStructure : NSObject
@property(readonly) MLModelStructureProgram *_Nullable program;
@end

API_AVAILABLE(macos(14.4))
@interface MLComputePlanCost : NSObject
@property(readonly) double weight;
@end

API_AVAILABLE(macos(14.4))
@interface MLComputePlanDeviceUsage : NSObject
@property(readonly) id<MLComputeDeviceProtocol> _Nonnull preferredComputeDevice;
@end

API_AVAILABLE(macos(14.4))
@interface MLComputePlan : NSObject
@property(readonly) MLModelStructure *_Nonnull modelStructure;
+ (void)loadContentsOfURL:(NSURL *_Nonnull)url
            configuration:(MLModelConfiguration *_Nonnull)configuration
        completionHandler:(void (^_Nonnull)(MLComputePlan *_Nullable computePlan,
                                            NSError *_Nullable error))handler;
- (MLComputePlanDeviceUsage *_Nullable)computeDeviceUsageForMLProgramOperation:
    (MLModelStructureProgramOperation *_Nonnull)operation;
- (MLComputePlanCost *_Nullable)estimatedCostOfMLProgramOperation:
    (MLModelStructureProgramOperation *_Nonnull)operation;
@end

#endif
