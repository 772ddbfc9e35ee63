//! Which operands belong to an operator once another one stands in its place.

/// How tightly an operator binds, as in the grammar of Rust.
fn tightness(operator: &str) -> u8 {
    match operator {
        "||" => 1,
        "&&" => 2,
        "==" | "!=" | "<" | "<=" | ">" | ">=" => 3,
        "|" => 4,
        "^" => 5,
        "&" => 6,
        "<<" | ">>" => 7,
        "+" | "-" => 8,
        "*" | "/" | "%" => 9,
        // Assignments.
        _ => 0,
    }
}

/// Whether operands stay with their operators when one is replaced in the text: `a + b + c` is not `(a + b) * c` with the second a `*`.
pub(crate) fn groups_alike(said: &str, other: &str, beside: &[&str]) -> bool {
    let (said, other) = (tightness(said), tightness(other));
    let between = said.min(other)..=said.max(other);
    said == other || !beside.iter().any(|operator| between.contains(&tightness(operator)))
}
