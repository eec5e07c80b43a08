#!/bin/sh
# Builds every target with libFuzzer's instrumentation and runs each for SECONDS (60), with the
# bundles of this repository as seeds beside fuzz/corpus. A finding stops it and stays in fuzz/findings.
set -eu
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
targets=${TARGETS:-"request rules cel cedar dogwood rego tests judge"}

# Coverage feedback only: the code is free of `unsafe`, so no sanitizer is needed, nor a nightly compiler.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
  "${CARGO:-cargo}" build --manifest-path fuzz/Cargo.toml --release --target "$host" --bins --quiet

seeds() { # the files of the repository that this target reads, under names of their own
  mkdir -p "fuzz/seeds/$1"
  find examples crates/callgate-policy/tests -path '*/node_modules' -prune -o -type f \( -name "$2" \) -print |
    while read -r file; do cp "$file" "fuzz/seeds/$1/$(printf %s "$file" | tr '/' '_')"; done
}
seeds request '*.json'; seeds rules '*.yaml'; seeds cedar '*.cedar'; seeds dogwood '*.dogwood'
seeds rego '*.rego'; seeds tests '*.yaml'
mkdir -p fuzz/seeds/cel fuzz/seeds/judge
grep -rhoE '^ +when: .*' examples crates/callgate-policy/tests --include='*.yaml' | sed 's/^ *when: *//' |
  awk '{ print > ("fuzz/seeds/cel/" NR) }'

for target in $targets; do
  mkdir -p "fuzz/corpus/$target" fuzz/findings
  echo "== $target: ${seconds}s"
  "fuzz/target/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
    -artifact_prefix="fuzz/findings/$target-" -print_final_stats=0 -verbosity=0 \
    "fuzz/corpus/$target" "fuzz/seeds/$target"
done
