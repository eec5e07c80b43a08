# METADATA
# description: Files below one folder, by the names that are allowed; no part begins with a dot.
# custom:
#   callgate:
#     id: archive-files
#     tools: [office.read_file]
#     agents: [archivist]
package office.archive_files

default decision := null

decision := "allow" if regex.match(`^/srv/data(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$`, input.args.path)
