/* Preloaded into every program of the rehearsed Mac: what the kernel is called. Nothing of the C
   library is needed, so that it can be loaded beside any version of it. */

#include <sys/utsname.h>

static void set(char *to, const char *from) {
  while ((*to++ = *from++)) {
  }
}

int uname(struct utsname *name) {
  set(name->sysname, "Darwin");
  set(name->nodename, "rehearsal");
  set(name->release, "24.5.0");
  set(name->version, "Darwin Kernel Version 24.5.0 (a rehearsal: this is Linux)");
  set(name->machine, "arm64");
  return 0;
}
