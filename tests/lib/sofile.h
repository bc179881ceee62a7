/* sofile.h - shared objects that a test builds for itself. */
#ifndef WEFT_TESTS_SOFILE_H
#define WEFT_TESTS_SOFILE_H

#include <stdbool.h>
#include <stddef.h>

/* A fresh folder; path: of x.so in it, where nothing is yet. */
void sofile_folder(char *path, size_t cap);
/* Compile C source text to that, with further flags for the compiler.  False: it refuses, without a word. */
bool sofile_compile(const char *source, const char *flags, const char *path);
/* Compile C source text to a shared object in a fresh folder, with further flags for the compiler; its
 * path goes to path.  Fails the test when there is no compiler or it refuses. */
void sofile_build(const char *source, const char *flags, char *path, size_t cap);
/* Remove object, source and folder. */
void sofile_remove(const char *path);

#endif
