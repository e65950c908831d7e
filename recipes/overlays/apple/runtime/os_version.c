/* What Clang calls for `@available`, for code that is built without Apple's own runtime library.
 *
 * `@available(macOS 14, *)` becomes a call of __isPlatformVersionAtLeast (Clang's documentation,
 * "Objective-C @available"). libSystem answers the question itself since macOS 10.15, through the
 * function below; the platform numbers are those of LC_BUILD_VERSION, and a version is packed as
 * in that load command: sixteen bits, eight bits, eight bits. */
#include <stdbool.h>
#include <stdint.h>

struct build_version {
  uint32_t platform;
  uint32_t version;
};

/* Weak, as Apple's own code imports it: a system without it still loads the library. */
extern bool _availability_version_check(uint32_t count, struct build_version versions[])
    __attribute__((weak_import));

int32_t __isPlatformVersionAtLeast(uint32_t platform, uint32_t major, uint32_t minor,
                                   uint32_t patch) {
  struct build_version wanted = {
      .platform = platform,
      .version = (major << 16) | ((minor & 0xff) << 8) | (patch & 0xff),
  };
  return _availability_version_check && _availability_version_check(1, &wanted);
}
