/* nixlang/host.h: what a host brings along: file systems, fetchers, stores. */
#ifndef NIXLANG_NIXLANG_HOST_H
#define NIXLANG_NIXLANG_HOST_H

#include "base.h"
#include "engine.h"
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a file is. 0: there is none. */
typedef enum nixlang_file_type {
    NIXLANG_MISSING = 0,
    NIXLANG_FILE = 1,
    NIXLANG_EXECUTABLE = 2,
    NIXLANG_DIRECTORY = 3,
    NIXLANG_LINK = 4
} nixlang_file_type;

/* Files that evaluations read instead of this machine's. Paths are absolute, without "." and "..". What a function writes to the sink is the result. Links are
 * not followed but by read_file. With a file system of the host there is no environment either. */
typedef struct nixlang_file_system {
    size_t size;
    nixlang_error *(*file_type)(void *data, nixlang_string path, nixlang_file_type *result);
    nixlang_error *(*read_file)(void *data, nixlang_string path, nixlang_sink sink, void *sink_data);
    /* Calls entry for each. */
    nixlang_error *(*read_directory)(void *data, nixlang_string path, void (*entry)(void *entry_data, nixlang_string name, nixlang_file_type type),
                                     void *entry_data);
    nixlang_error *(*read_link)(void *data, nixlang_string path, nixlang_sink sink, void *sink_data);
} nixlang_file_system;
nixlang_error *nixlang_config_set_file_system(nixlang_config *config, const nixlang_file_system *functions, void *data, void (*drop)(void *data));

/* Fetches addresses of a scheme for builtins.fetchurl and fetchTarball, instead of the library's own fetchers: writes the bytes of the file, or, if unpack, the NAR of what the archive holds. Hashes
 * are checked by the library. */
typedef nixlang_error *(*nixlang_fetcher)(void *data, nixlang_string address, bool unpack, nixlang_sink sink, void *sink_data);
nixlang_error *nixlang_config_add_fetcher(nixlang_config *config, nixlang_string scheme, nixlang_fetcher function, void *data, void (*drop)(void *data));

/* What is known of a path in a store of the host. */
typedef struct nixlang_stored {
    nixlang_string nar_hash; /* "sha256-…" or "sha256:…" */
    uint64_t nar_size;
    const nixlang_string *references;
    size_t n_references;
    nixlang_string deriver; /* or empty */
    const nixlang_string *signatures;
    size_t n_signatures;
} nixlang_stored;

/* A store of the host. Functions may be called by several threads at once. */
typedef struct nixlang_store_functions {
    size_t size;
    /* Calls found with what is known of a path, or does not call it if the path is not there. */
    nixlang_error *(*query)(void *data, nixlang_string path, void (*found)(void *found_data, const nixlang_stored *info), void *found_data);
    /* Writes the NAR of a path. */
    nixlang_error *(*write_nar)(void *data, nixlang_string path, nixlang_sink sink, void *sink_data);
    /* Keeps a path; NULL for a store that is only read. */
    nixlang_error *(*add_nar)(void *data, nixlang_string path, const nixlang_stored *info, nixlang_string nar);
    /* Calls path for each; NULL if it cannot tell. */
    nixlang_error *(*valid_paths)(void *data, void (*path)(void *path_data, nixlang_string path), void *path_data);
} nixlang_store_functions;
/* Makes a store of functions, with an address for messages and a directory of paths (empty: /nix/store). */
nixlang_error *nixlang_store_new(const nixlang_store_functions *functions, nixlang_string address, nixlang_string directory, void *data,
                                 void (*drop)(void *data), nixlang_store **result);

#ifdef __cplusplus
}
#endif

#endif
