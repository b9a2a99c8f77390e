# Cases in which we differ from the reference, on purpose or for now; COMPATIBILITY.md has the reasons. They are not
# put to another command than ours.

--- differs-fetch-git ---
# error: 'builtins.fetchGit' is not supported yet
builtins.fetchGit "/definitely/not/there"

--- differs-fetch-mercurial ---
# error: 'builtins.fetchMercurial' is not supported yet
builtins.fetchMercurial "/definitely/not/there"
