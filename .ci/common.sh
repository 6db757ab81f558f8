# Sourced by each step: strict mode, the root of the sources, and an environment in .venv. A step runs alone, in any
# clone, and installs what it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD bin=$PWD/.venv/bin python=$PWD/.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { printf '\n== %s\n' "$*"; }

# The command in the README under the given marker, as a user would type it.
readme() { sed -n "/<!-- ci: $1 -->/,/^\`\`\`\$/{/^[^<\`]/p}" README.md; }

# Installs the requirements of some extras without fastreg itself, which `-e ".[bench,dev]"` would build again.
install_extras() {
    [[ -x $python ]] || python3 -m venv .venv
    python3 - "$@" > "$work/requirements.txt" <<'EOF'
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*(tool for extra in sys.argv[1:] for tool in project["optional-dependencies"][extra]), sep="\n")
print(*project["dependencies"], sep="\n")
EOF
    "$python" -m pip install --quiet --requirement "$work/requirements.txt"
}

# Installs fastreg from the sources, as the README does, if the environment does not have it.
install_fastreg() {
    install_extras "$@"
    (cd "$work" && "$python" -c "import fastreg" 2>/dev/null) || "$python" -m pip install --quiet --editable .
}

# Copies the current sources, committed or not, to a folder.
copy_sources() {
    mkdir -p "$1"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory "$1"
}
