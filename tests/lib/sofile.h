/* sofile.h - shared objects that a test builds for itself. */
#ifndef WEFT_TESTS_SOFILE_H
#define WEFT_TESTS_SOFILE_H

#include <stddef.h>

/* Compile C source text to a shared object in a fresh folder, with further flags for the compiler; its
 * path goes to path.  Fails the test when there is no compiler or it refuses. */
void sofile_build(const char *source, const char *flags, char *path, size_t cap);
/* Remove object, source and folder. */
void sofile_remove(const char *path);

#endif
