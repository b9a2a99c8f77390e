# Cases in which we differ from the reference, on purpose or for now; COMPATIBILITY.md has the reasons. They are not
# put to another command than ours.

--- differs-fetch-git ---
# error: this evaluation has no store, so it cannot fetch 'git+file:///definitely/not/there?exportIgnore=1'
builtins.fetchGit "/definitely/not/there"

--- differs-fetch-mercurial ---
# error: this evaluation has no store, so it cannot fetch 'hg+file:///definitely/not/there'
builtins.fetchMercurial "/definitely/not/there"
