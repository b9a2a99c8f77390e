/* nix_api_store/store_path.h: store paths.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_STORE_STORE_PATH_H
#define NIXLANG_NIX_API_STORE_STORE_PATH_H

#include "../nix_api_util.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A path in some store's directory: a hash and a name. */
typedef struct StorePath StorePath;

/* The hash of a store path, decoded. */
typedef struct nix_store_path_hash_part {
    uint8_t bytes[20];
} nix_store_path_hash_part;

/* Returns a copy, to be freed. */
StorePath *nix_store_path_clone(const StorePath *p);
/* Frees a path; NULL is fine. */
void nix_store_path_free(StorePath *p);
/* Gives what stands behind the hash. */
void nix_store_path_name(const StorePath *store_path, nix_get_string_callback callback, void *user_data);
/* Writes the hash. */
nix_err nix_store_path_hash(nix_c_context *context, const StorePath *store_path, nix_store_path_hash_part *hash_part_out);
/* Returns the path of a hash and a name of name_len bytes, to be freed. Fails if the name is not one. */
StorePath *nix_store_create_from_parts(nix_c_context *context, const nix_store_path_hash_part *hash, const char name[], size_t name_len);

#ifdef __cplusplus
}
#endif

#endif
