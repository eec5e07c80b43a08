//! The builtins a decision may use, and what to write instead of the others.
//!
//! Left out are those that are not pure, need the network or a key, or make much out of little: one
//! call of `numbers.range` or `net.cidr_expand` is a single step of any budget.

/// The builtins a decision may use.
const CLAIMED: &[&str] = &[
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.patch",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_is_valid",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "walk",
];

/// Builtins, or the beginnings of their names, that are refused, and what to write instead.
const REFUSED: &[(&str, &str)] = &[
    ("time.now_ns", "write `input.now_ms`, the gate's clock in milliseconds since 1970 UTC"),
    ("http.", "nothing is fetched while deciding; let the request say it"),
    ("net.lookup_ip_addr", "nothing is looked up while deciding; let the request say the address"),
    ("rand.", "a decision is the same each time it is made; decide on something the request says"),
    ("uuid.", "a decision is the same each time it is made; take an id that the request has"),
    ("opa.", "the environment is no part of a decision; let the request say it"),
    ("print", "remove it; `callgate explain` shows what a decision went by"),
    ("trace", "remove it; `callgate explain` shows what a decision went by"),
    ("rego.", "a package does not read other policies' text; write its id in the header"),
    ("io.jwt.", "credentials are verified by the gate; take `input.agent`"),
    ("crypto.", "keys and digests are no part of a decision; compare the values themselves"),
    ("graphql.", "let the enforcement point parse the query, and decide on its arguments"),
    ("providers.", "requests are signed by the enforcement point, not by a policy"),
    ("yaml.", "pass JSON and use `json.unmarshal`"),
    ("bits.", "compare numbers, or write the flags as a list"),
    ("graph.", "write the relation out as rules over the few steps you need"),
    ("numbers.", "compare with `<=` and `>=` instead of listing numbers"),
    ("net.cidr_", "ask `net.cidr_contains` for each network"),
    ("json.match_schema", "put the schema into `tools/*.json`"),
    ("json.verify_schema", "put the schema into `tools/*.json`"),
    ("json.marshal_with_options", "use `json.marshal`"),
    ("strings.count", "use `count(split(text, part)) - 1`; the engine counts wrongly"),
    ("strings.render_template", "use `sprintf`"),
    ("regex.", "use `regex.match` or `glob.match`"),
    ("internal.", "it is not for policies"),
    ("test.", "it is not for policies"),
];

/// Arguments by which little text becomes much; they stand in the policy, never in a request.
const WRITTEN_OUT: &[(&str, usize, &str)] = &[
    ("concat", 0, "the delimiter"),
    ("replace", 2, "the replacement"),
    ("regex.replace", 2, "the replacement"),
    ("strings.replace_n", 0, "the replacements"),
    ("sprintf", 0, "the format"),
];

/// Whether a decision may use the builtin `name`.
pub(crate) fn is_claimed(name: &str) -> bool {
    CLAIMED.binary_search(&name).is_ok()
}

/// What to write instead of `name`.
pub(crate) fn instead(name: &str) -> &'static str {
    let named = |(refused, _): &&(&str, &str)| {
        name == *refused || (refused.ends_with(['.', '_']) && name.starts_with(refused))
    };
    REFUSED.iter().find(named).map_or("docs/rego.md lists the functions there are", |(_, help)| help)
}

/// Whether the engine would answer the call of `name` with nothing: `walk` works only by its second
/// argument, and a denial that goes by its value would never hold.
pub(crate) fn is_void(name: &str, arguments: &[bool]) -> bool {
    name == "walk" && arguments.len() != 2
}

/// What of the call of `name` must be written out but is not.
pub(crate) fn not_written_out(name: &str, arguments: &[bool]) -> Option<&'static str> {
    let found = WRITTEN_OUT.iter().find(|(called, ..)| *called == name);
    found.filter(|(_, at, _)| arguments.get(*at) == Some(&false)).map(|(_, _, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(CLAIMED.is_sorted());
    }

    #[test]
    fn what_is_refused_is_not_claimed() {
        for name in ["http.send", "time.now_ns", "rand.intn", "uuid.rfc4122", "numbers.range", "print"] {
            assert!(!is_claimed(name), "{name}");
            assert!(!instead(name).contains("docs/rego.md"), "{name}");
        }
    }
}
