/* nixlang/store.h: stores: what they know, what is added to them. Paths are texts such as "/nix/store/…-name". */
#ifndef NIXLANG_NIXLANG_STORE_H
#define NIXLANG_NIXLANG_STORE_H

#include "base.h"
#include "engine.h"
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nixlang_path_info nixlang_path_info;
typedef struct nixlang_paths nixlang_paths;

/* Opens a store: "local", "local?root=/somewhere", "daemon", "unix://SOCKET", "ssh-ng://HOST", "ssh://HOST", a binary cache ("https://…", "file://…"), "dummy://",
 * or "" for what environment and config say, with parameters as Nix has them. A store behind a connection is connected to when it is first asked something. config
 * may be NULL. */
nixlang_error *nixlang_store_open(nixlang_string address, const nixlang_config *config, nixlang_store **result);
void nixlang_store_free(nixlang_store *store);
/* Without a NUL behind them. */
nixlang_string nixlang_store_address(const nixlang_store *store);
nixlang_string nixlang_store_directory(const nixlang_store *store);

/* Tells whether a path is in the store with all that is known of it. */
nixlang_error *nixlang_store_is_valid(const nixlang_store *store, nixlang_string path, bool *result);
/* Gives what is known of a path; NULL (and no error) if it is not valid. */
nixlang_error *nixlang_store_path_info(const nixlang_store *store, nixlang_string path, nixlang_path_info **result);
void nixlang_path_info_free(nixlang_path_info *info);
nixlang_string nixlang_path_info_nar_hash(const nixlang_path_info *info);
uint64_t nixlang_path_info_nar_size(const nixlang_path_info *info);
/* Seconds since 1970; 0 if not known. */
int64_t nixlang_path_info_registration_time(const nixlang_path_info *info);
/* Empty past the end, or where there is none. */
nixlang_string nixlang_path_info_reference(const nixlang_path_info *info, size_t index);
nixlang_string nixlang_path_info_signature(const nixlang_path_info *info, size_t index);
nixlang_string nixlang_path_info_deriver(const nixlang_path_info *info);
nixlang_string nixlang_path_info_content_address(const nixlang_path_info *info);

/* A list of paths, sorted. */
size_t nixlang_paths_count(const nixlang_paths *paths);
nixlang_string nixlang_paths_at(const nixlang_paths *paths, size_t index);
void nixlang_paths_free(nixlang_paths *paths);

/* Gives all valid paths; not every kind of store can tell. */
nixlang_error *nixlang_store_valid_paths(const nixlang_store *store, nixlang_paths **result);
/* Gives the valid paths that refer to one. */
nixlang_error *nixlang_store_referrers(const nixlang_store *store, nixlang_string path, nixlang_paths **result);
/* What a closure follows beside references; any of these together. */
#define NIXLANG_FOLLOW_REFERRERS 1 /* backwards */
#define NIXLANG_FOLLOW_OUTPUTS 2
#define NIXLANG_FOLLOW_DERIVERS 4
nixlang_error *nixlang_store_closure(const nixlang_store *store, nixlang_string path, int follow, nixlang_paths **result);
/* Where the files of a path are on this machine. */
nixlang_error *nixlang_store_real_path(const nixlang_store *store, nixlang_string path, nixlang_bytes *result);
nixlang_error *nixlang_store_derivation_json(const nixlang_store *store, nixlang_string path, nixlang_bytes *result);
/* Writes the NAR of a path to a sink. */
nixlang_error *nixlang_store_write_nar(const nixlang_store *store, nixlang_string path, nixlang_sink sink, void *data);

/* Add a file of these bytes, and a file tree of this machine; give the path. */
nixlang_error *nixlang_store_add_bytes(nixlang_store *store, nixlang_string name, nixlang_string contents, nixlang_bytes *result);
nixlang_error *nixlang_store_add_tree(nixlang_store *store, nixlang_string name, nixlang_string file, nixlang_bytes *result);
/* Copies a path with all that it refers to, and gives what was copied; result may be NULL. */
nixlang_error *nixlang_store_copy(const nixlang_store *from, nixlang_store *to, nixlang_string path, nixlang_paths **result);
/* Makes a symbolic link to a path, which keeps it from being collected. */
nixlang_error *nixlang_store_add_root(nixlang_store *store, nixlang_string path, nixlang_string link);

#ifdef __cplusplus
}
#endif

#endif
