/* nix_api_store.h: stores: opening, asking, building, copying.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_STORE_H
#define NIXLANG_NIX_API_STORE_H

#include "nix_api_util.h"
#include "nix_api_store/store_path.h"
#include "nix_api_store/derivation.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open store. */
typedef struct Store Store;

/* As nix_libutil_init; this one also reads nix.conf, once. */
nix_err nix_libstore_init(nix_c_context *context);
/* The same without reading nix.conf. */
nix_err nix_libstore_init_no_load_config(nix_c_context *context);

/* Opens a store: an address (NULL or "": what environment and settings say) and parameters, pairs { name, value }, the last followed by NULL; NULL is fine.
 * Free it with nix_store_free. */
Store *nix_store_open(nix_c_context *context, const char *uri, const char ***params);
/* Closes a store; NULL is fine. States that use it keep it open. */
void nix_store_free(Store *store);

/* Give the address with its parameters, the directory of paths, and the version ("" where there is none). */
nix_err nix_store_get_uri(nix_c_context *context, Store *store, nix_get_string_callback callback, void *user_data);
nix_err nix_store_get_storedir(nix_c_context *context, Store *store, nix_get_string_callback callback, void *user_data);
nix_err nix_store_get_version(nix_c_context *context, Store *store, nix_get_string_callback callback, void *user_data);

/* Returns the path of a text such as "/nix/store/…-name", to be freed. */
StorePath *nix_store_parse_path(nix_c_context *context, Store *store, const char *path);
/* Returns whether a path is in the store. */
bool nix_store_is_valid_path(nix_c_context *context, Store *store, const StorePath *path);
/* Gives where the files of a path are on this machine. */
nix_err nix_store_real_path(nix_c_context *context, Store *store, StorePath *path, nix_get_string_callback callback, void *user_data);

/* Builds all outputs of a derivation and returns when they are there. Then the callback (or NULL) gets each, in the order of their names; the path
 * lives until it returns. */
nix_err nix_store_realise(nix_c_context *context, Store *store, StorePath *path, void *userdata,
                          void (*callback)(void *userdata, const char *outname, const StorePath *out));

/* Returns the derivation of a JSON text (version 4), with what follows from the rest filled in and checked; to be freed. */
nix_derivation *nix_derivation_from_json(nix_c_context *context, Store *store, const char *json);
/* Writes a derivation and returns its path, to be freed. */
StorePath *nix_add_derivation(nix_c_context *context, Store *store, nix_derivation *derivation);

/* Copies a path with everything that it refers to. */
nix_err nix_store_copy_closure(nix_c_context *context, Store *srcStore, Store *dstStore, StorePath *path);
/* Copies a path alone. repair: also if it is there. checkSigs: only if it is signed by somebody who is trusted. */
nix_err nix_store_copy_path(nix_c_context *context, Store *srcStore, Store *dstStore, const StorePath *path, bool repair, bool checkSigs);

/* Gives a path's closure, each path once; the callback may be NULL, and ends it by setting an error. flip_direction: what refers to the path instead.
 * include_outputs: from derivations to their outputs. include_derivers: from outputs to their derivations. */
nix_err nix_store_get_fs_closure(nix_c_context *context, Store *store, const StorePath *store_path, bool flip_direction, bool include_outputs,
                                 bool include_derivers, void *userdata,
                                 void (*callback)(nix_c_context *context, void *userdata, const StorePath *store_path));

/* Returns the derivation of a .drv path, to be freed. */
nix_derivation *nix_store_drv_from_store_path(nix_c_context *context, Store *store, const StorePath *path);
/* Returns the path whose hash is this text, to be freed; NULL without an error if there is none. */
StorePath *nix_store_query_path_from_hash_part(nix_c_context *context, Store *store, const char *hash);

#ifdef __cplusplus
}
#endif

#endif
