/* nixlang/build.h: builds: started, watched, cancelled, waited for. */
#ifndef NIXLANG_NIXLANG_BUILD_H
#define NIXLANG_NIXLANG_BUILD_H

#include "base.h"
#include "engine.h"
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nixlang_build nixlang_build;

/* What happens in a build. */
typedef enum nixlang_event_kind {
    NIXLANG_BUILD_STARTED = 1,  /* derivation */
    NIXLANG_BUILD_WAITING = 2,  /* derivation: another process builds it */
    NIXLANG_BUILD_LOG = 3,      /* derivation, text: a line that the builder wrote */
    NIXLANG_BUILD_PHASE = 4,    /* derivation, text */
    NIXLANG_BUILD_FINISHED = 5, /* derivation; failed is 1 and text the message if it failed */
    NIXLANG_BUILD_PROGRESS = 6, /* done, total, running, failed */
    NIXLANG_BUILD_END = 7       /* the last one */
} nixlang_event_kind;
typedef struct nixlang_event {
    nixlang_event_kind kind;
    nixlang_string derivation; /* strings live until the next event is taken */
    nixlang_string text;
    size_t done;
    size_t total;
    size_t running;
    size_t failed;
} nixlang_event;

/* Starts to build: "…-name.drv" (all outputs), "…-name.drv^out,doc", "…-name.drv^*", or a path that must be there. config may be NULL; its substituters are
 * asked first. A local store is built in on this machine (or those of the setting "builders"), for which the program nixlang-build-helper must be found: beside
 * the library, in ../libexec, in PATH, or where NIXLANG_BUILD_HELPER_PROGRAM says. Stores behind a connection build on their side, where they are not stopped by
 * cancelling. Other stores cannot build. */
nixlang_error *nixlang_build_start(nixlang_store *store, const nixlang_config *config, const nixlang_string *paths, size_t n_paths, nixlang_build **result);
/* Cancels what still runs, waits for it and frees the build. */
void nixlang_build_free(nixlang_build *build);

/* Takes the next event, waiting up to timeout_ms for it (negative: as long as it takes). False: there was none in time, or there are no more. One thread at a
 * time takes events. */
bool nixlang_build_next_event(nixlang_build *build, int64_t timeout_ms, nixlang_event *event);
/* A descriptor that is readable while events wait, for poll and its like; -1 if there is none. Not to be read or closed. */
int nixlang_build_descriptor(const nixlang_build *build);
/* Stops the builders. The build ends soon, as failed. */
void nixlang_build_cancel(const nixlang_build *build);
/* Waits for the end. Succeeds if everything that was wanted is there now. */
nixlang_error *nixlang_build_wait(nixlang_build *build);

/* What was made, after a successful nixlang_build_wait. False past the end. */
typedef struct nixlang_output {
    nixlang_string derivation;
    nixlang_string name;
    nixlang_string path;
} nixlang_output;
bool nixlang_build_output(const nixlang_build *build, size_t index, nixlang_output *result);

#ifdef __cplusplus
}
#endif

#endif
