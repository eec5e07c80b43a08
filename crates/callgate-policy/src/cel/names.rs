//! Suggestions for misspelt names.

/// The longest name for which a suggestion is sought, in characters.
const LONGEST: usize = 40;

/// The candidate nearest to `name`, if it is near enough to be what was meant.
pub(super) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let wanted: Vec<char> = name.chars().flat_map(char::to_lowercase).take(LONGEST).collect();
    let allowed = wanted.len().div_euclid(3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST && *candidate != name)
        .map(|candidate| (distance(&wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, ignoring case.
fn distance(wanted: &[char], candidate: &str) -> usize {
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (line, c) in candidate.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), line.saturating_add(1));
        let mut left = line.saturating_add(1);
        for (cell, w) in row.iter_mut().skip(1).zip(wanted) {
            let replaced = diagonal.saturating_add(usize::from(*w != c));
            diagonal = *cell;
            *cell = replaced.min(diagonal.saturating_add(1)).min(left.saturating_add(1));
            left = *cell;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
