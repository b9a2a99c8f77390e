/* nixlang/base.h: strings, bytes, versions. See nixlang.h for the rules. */
#ifndef NIXLANG_NIXLANG_BASE_H
#define NIXLANG_NIXLANG_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface, as the library has it: nixlang_abi_version() must be at least this, and grows when functions are added. */
#define NIXLANG_ABI_VERSION 1

/* Borrowed bytes. */
typedef struct nixlang_string {
    const char *data;
    size_t length;
} nixlang_string;

/* Bytes that belong to whoever has the structure; a NUL that length does not count follows them. */
typedef struct nixlang_bytes {
    char *data;
    size_t length;
} nixlang_bytes;

/* Takes bytes; returns false to stop. */
typedef bool (*nixlang_sink)(void *data, const char *bytes, size_t length);

/* Returns the bytes of a NUL-terminated text; no bytes for NULL. */
static inline nixlang_string nixlang_text(const char *text) {
    nixlang_string string;
    string.data = text;
    string.length = text ? strlen(text) : 0;
    return string;
}

/* Returns the version of the interface that the library has. */
uint32_t nixlang_abi_version(void);
/* Returns the version of the library, such as "0.1.0". */
nixlang_string nixlang_version(void);
/* Frees the bytes and empties the structure; an empty one is fine. */
void nixlang_bytes_free(nixlang_bytes *bytes);

#ifdef __cplusplus
}
#endif

#endif
