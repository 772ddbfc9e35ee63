//! Rewrites a file so that it holds all its mutants, each behind a switch: it is compiled once, however many there are.
//!
//! `crate::mutant::is(N)` says whether mutant N is switched on. Operands are written once and evaluated once, so that changes nest. What
//! cannot be written so (constant functions, other types behind an `impl Trait`, an operator that would group its operands otherwise) is
//! built alone instead.

use std::{collections::BTreeMap, ops::Range};

use anyhow::Context;
use syn::{
    BinOp, Expr,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{
    grouping::groups_alike,
    list::{Genre, Mutant, offset},
};

/// A mutant's number in the whole list, from 1.
pub(crate) type Number = usize;

/// The module that every switch asks.
pub(crate) const MODULE: &str = r#"
//! Which mutant is switched on: the one that the environment names, or none.
use std::sync::LazyLock;
static ACTIVE: LazyLock<usize> =
    LazyLock::new(|| std::env::var("GREENROOM_MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(0));
pub(crate) fn active() -> usize {
    *ACTIVE
}
pub(crate) fn is(number: usize) -> bool {
    *ACTIVE == number
}
"#;

/// A rewritten file.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) text: String,
    /// Where in the text which mutant's own code is: what does not compile there is that mutant's fault.
    pub(crate) marks: Vec<(Range<usize>, Number)>,
    /// Mutants that are in it.
    pub(crate) numbers: Vec<Number>,
}

/// Text, and the mutants whose fault it is if it does not compile.
type Piece = (String, Vec<Number>);

/// Something to be written at a place, instead of so many bytes.
struct Edit {
    at: usize,
    instead_of: usize,
    /// What ends goes before what begins at the same place; what begins last ends first.
    ends: bool,
    order: usize,
    pieces: Vec<Piece>,
}

/// Puts every one of these mutants into the file.
pub(crate) fn switched(text: &str, mutants: &[(Number, &Mutant)]) -> anyhow::Result<Switched> {
    let file = syn::parse_file(text).context("a file of the director cannot be parsed")?;
    let mut writer = Writer {
        text,
        wanted: mutants
            .iter()
            .map(|(number, mutant)| {
                (
                    offset(text, mutant.span.start)..offset(text, mutant.span.end),
                    *number,
                    *mutant,
                )
            })
            .collect(),
        edits: Vec::new(),
        numbers: Vec::new(),
        catches_all: Vec::new(),
        outer: BTreeMap::new(),
    };
    writer.visit_file(&file);
    let Writer {
        mut edits, mut numbers, ..
    } = writer;
    edits.sort_by_key(|edit| {
        (
            edit.at,
            !edit.ends,
            if edit.ends { usize::MAX - edit.order } else { edit.order },
        )
    });
    let (mut written, mut marks, mut done) = (String::new(), Vec::new(), 0);
    for edit in edits {
        written.push_str(&text[done..edit.at]);
        done = edit.at + edit.instead_of;
        for (piece, numbers) in edit.pieces {
            let from = written.len();
            written.push_str(&piece);
            marks.extend(numbers.into_iter().map(|number| (from..written.len(), number)));
        }
    }
    written.push_str(&text[done..]);
    numbers.sort_unstable();
    Ok(Switched {
        text: written,
        marks,
        numbers,
    })
}

struct Writer<'a> {
    text: &'a str,
    wanted: Vec<(Range<usize>, Number, &'a Mutant)>,
    edits: Vec<Edit>,
    numbers: Vec<Number>,
    /// Of the matches that are being looked at, innermost last: whether one of its arms takes whatever comes.
    catches_all: Vec<bool>,
    /// Of operations that are operands of another one, by where they begin and end: that one's operator.
    outer: BTreeMap<(usize, usize), &'a str>,
}

fn plain(text: &str) -> Piece {
    (text.to_owned(), Vec::new())
}

fn of(number: Number, text: String) -> Piece {
    (text, vec![number])
}

fn is(number: Number) -> Piece {
    of(number, format!("crate::mutant::is({number})"))
}

/// The pair of both sides is there; its match begins.
const MATCHED: &str = ")) { (left_, right_) =>";

/// The question which mutant it is. Where nothing can be asked, as in a constant, it is the fault of all of them.
fn asks(found: &[(Number, String)], before: &str) -> Piece {
    (
        format!("{before} match crate::mutant::active() {{ "),
        found.iter().map(|(number, _)| *number).collect(),
    )
}

/// Its answers: each mutant's operator, and the one that is said.
fn arms(found: &[(Number, String)], said: &str, left: &str, right: &str) -> Vec<Piece> {
    let arms = found
        .iter()
        .map(|(number, other)| of(*number, format!("{number} => {left} {other} {right}, ")));
    arms.chain([plain(&format!("_ => {left} {said} {right}, }} "))])
        .collect()
}

impl<'a> Writer<'a> {
    /// The mutants of a kind at exactly this span.
    fn at(&self, span: &Range<usize>, genre: Genre) -> Vec<(Number, String)> {
        let here = self
            .wanted
            .iter()
            .filter(|(at, _, mutant)| at == span && mutant.genre == genre);
        here.map(|(_, number, mutant)| (*number, mutant.replacement.clone()))
            .collect()
    }

    fn write(&mut self, at: usize, instead_of: usize, ends: bool, order: usize, pieces: Vec<Piece>) {
        self.edits.push(Edit {
            at,
            instead_of,
            ends,
            order,
            pieces,
        });
    }

    /// Writes something before and after a range; what was begun before is around it.
    fn around(&mut self, range: &Range<usize>, before: Vec<Piece>, after: Vec<Piece>) {
        let order = self.edits.len();
        self.write(range.start, 0, false, order, before);
        self.write(range.end, 0, true, order, after);
    }

    fn took(&mut self, found: &[(Number, String)]) {
        self.numbers.extend(found.iter().map(|(number, _)| *number));
    }

    /// A function that gives something at once.
    ///
    /// Two types behind one `impl Trait` do not compile: such functions are built alone.
    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        if self.text[signature.output.span().byte_range()].contains("impl ") {
            return;
        }
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else {
            return;
        };
        let span = first.span().byte_range().start..last.span().byte_range().end;
        let found = self.at(&span, Genre::FnValue);
        for (number, value) in &found {
            let give = format!("if crate::mutant::is({number}) {{ return {value}; }} ");
            let order = self.edits.len();
            self.write(span.start, 0, false, order, vec![of(*number, give)]);
        }
        self.took(&found);
    }

    /// The operators with which this one shares an operand, no parentheses between; those of its own operands learn of it.
    fn beside(&mut self, expression: &syn::ExprBinary) -> Vec<&'a str> {
        let text = self.text;
        let whole = expression.span().byte_range();
        let mut beside: Vec<&str> = self.outer.get(&(whole.start, whole.end)).copied().into_iter().collect();
        for operand in [&*expression.left, &*expression.right] {
            if let Expr::Binary(inner) = operand {
                let at = inner.span().byte_range();
                self.outer
                    .insert((at.start, at.end), &text[expression.op.span().byte_range()]);
                beside.push(&text[inner.op.span().byte_range()]);
            }
        }
        beside
    }

    fn binary(&mut self, expression: &syn::ExprBinary) {
        let operator = expression.op.span().byte_range();
        let whole = expression.span().byte_range();
        let beside = self.beside(expression);
        let text = self.text;
        let said = &text[operator.clone()];
        let mut found = self.at(&operator, Genre::BinaryOperator);
        found.retain(|(_, other)| groups_alike(said, other, &beside));
        let lets = [&*expression.left, &*expression.right].into_iter().any(holds_let);
        if found.is_empty() || lets {
            return;
        }
        match expression.op {
            BinOp::And(_) | BinOp::Or(_) => {
                let [(number, _)] = found[..] else { return };
                self.short_circuit(&whole, &operator, number, matches!(expression.op, BinOp::And(_)));
            }
            BinOp::Eq(_) | BinOp::Ne(_) if found.len() == 1 => {
                self.around(
                    &whole,
                    vec![plain("((")],
                    vec![plain(") != "), is(found[0].0), plain(")")],
                );
            }
            BinOp::AddAssign(_) | BinOp::SubAssign(_) | BinOp::MulAssign(_) | BinOp::BitOrAssign(_) => {
                let left = text[expression.left.span().byte_range()].to_owned();
                let start = whole.start..operator.end;
                // The place on the left is named again and again: nothing of it may be changed.
                self.wanted
                    .retain(|(at, ..)| at == &operator || !(start.contains(&at.start)));
                let order = self.edits.len();
                self.write(start.start, start.len(), false, order, vec![plain("{ let right_ = ")]);
                let after = [asks(&found, ";")]
                    .into_iter()
                    .chain(arms(&found, said, &left, "right_"));
                self.write(whole.end, 0, true, order, after.chain([plain("} ")]).collect());
            }
            // Both sides are computed once, and compared without being taken.
            BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) => {
                let arms = arms(&found, said, "*left_", "*right_");
                self.matched(&whole, &operator, "&", asks(&found, MATCHED), arms);
            }
            _ => {
                let arms = arms(&found, said, "left_", "right_");
                self.matched(&whole, &operator, "", asks(&found, MATCHED), arms);
            }
        }
        self.took(&found);
    }

    /// `&&` or `||` that can become the other one: the right side is still computed only where it was, or where it counts.
    fn short_circuit(&mut self, whole: &Range<usize>, operator: &Range<usize>, number: Number, is_and: bool) {
        self.around(whole, vec![plain("({ let left_ = ")], vec![plain(" } else { or_ } })")]);
        let between = vec![
            plain("; let or_ = "),
            plain(if is_and { "" } else { "!" }),
            is(number),
            plain("; if left_ != or_ { "),
        ];
        self.write(operator.start, operator.len(), true, 0, between);
    }

    /// Both sides in a pair, and what is done with them in the arms.
    fn matched(&mut self, whole: &Range<usize>, operator: &Range<usize>, by: &str, asks: Piece, arms: Vec<Piece>) {
        let after = [asks].into_iter().chain(arms).chain([plain("} )")]).collect();
        self.around(whole, vec![plain(&format!("(match ({by}("))], after);
        self.write(
            operator.start,
            operator.len(),
            true,
            0,
            vec![plain(&format!("), {by}("))],
        );
    }

    fn unary(&mut self, expression: &syn::ExprUnary) {
        let operator = expression.op.span().byte_range();
        let found = self.at(&operator, Genre::UnaryOperator);
        let ([(number, _)], syn::UnOp::Not(_)) = (&found[..], &expression.op) else {
            return;
        };
        let whole = expression.span().byte_range();
        let order = self.edits.len();
        self.write(operator.start, operator.len(), false, order, vec![plain("((")]);
        self.write(whole.end, 0, true, order, vec![plain(") == "), is(*number), plain(")")]);
        self.took(&found);
    }

    /// An arm that is gone, where another one takes its place, and a guard that always or never holds.
    fn arm(&mut self, arm: &syn::Arm) {
        let (pattern, whole) = (arm.pat.span().byte_range(), arm.span().byte_range());
        // Arms with guards do not count for whether all cases are there.
        let may_go = arm.guard.is_some() || self.catches_all.last() == Some(&true);
        let gone = self
            .wanted
            .iter()
            .filter(|(at, _, mutant)| may_go && mutant.genre == Genre::MatchArm && at.start == whole.start);
        let gone: Vec<(Number, String)> = gone.map(|(_, number, _)| (*number, String::new())).collect();
        let stays: Vec<_> = gone
            .iter()
            .flat_map(|(number, _)| [plain(" && !"), is(*number)])
            .collect();
        if let Some((_, guard)) = &arm.guard {
            let guard = guard.span().byte_range();
            let found = self.at(&guard, Genre::MatchArmGuard);
            let always = found
                .iter()
                .filter(|(_, value)| value == "true")
                .flat_map(|(number, _)| [is(*number), plain(" || ")]);
            let before = [plain("((")].into_iter().chain(always).chain([plain("(")]).collect();
            let never = found
                .iter()
                .filter(|(_, value)| value == "false")
                .flat_map(|(number, _)| [plain(" && !"), is(*number)]);
            let after = [plain(")) ")]
                .into_iter()
                .chain(never)
                .chain(stays)
                .chain([plain(")")])
                .collect();
            if !(found.is_empty() && gone.is_empty()) {
                self.around(&guard, before, after);
            }
            self.took(&found);
        } else if !gone.is_empty() {
            let order = self.edits.len();
            let guard = [plain(" if true")].into_iter().chain(stays).collect();
            self.write(pattern.end, 0, true, order, guard);
        }
        self.took(&gone);
    }

    /// A field that is taken from the base after all.
    fn fields(&mut self, literal: &syn::ExprStruct) {
        let Some(base) = &literal.rest else { return };
        let base = self.text[base.span().byte_range()].to_owned();
        for field in &literal.fields {
            let span = field.span().byte_range();
            let here = |at: &Range<usize>| at.start == span.start && at.end >= span.end;
            let found = self
                .wanted
                .iter()
                .find(|(at, _, mutant)| mutant.genre == Genre::StructField && here(at));
            let (Some((_, number, _)), syn::Member::Named(name)) = (found, &field.member) else {
                continue;
            };
            let (number, value) = (*number, field.expr.span().byte_range());
            let other = format!("{{ if crate::mutant::is({number}) {{ {base}.{name} }} else {{ ");
            // `{ field }` has its name for a value.
            let named = if field.colon_token.is_none() {
                format!("{name}: ")
            } else {
                String::new()
            };
            self.around(&value, vec![plain(&named), of(number, other)], vec![plain(" } }")]);
            self.numbers.push(number);
        }
    }
}

fn holds_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            holds_let(&binary.left) || holds_let(&binary.right)
        }
        _ => false,
    }
}

/// Whether an arm takes whatever comes.
fn catches_all(arm: &syn::Arm) -> bool {
    let any = match &arm.pat {
        syn::Pat::Wild(_) => true,
        syn::Pat::Ident(name) => name.subpat.is_none(),
        syn::Pat::Tuple(tuple) => tuple
            .elems
            .iter()
            .all(|pat| matches!(pat, syn::Pat::Wild(_) | syn::Pat::Ident(_))),
        _ => false,
    };
    any && arm.guard.is_none()
}

impl<'ast> Visit<'ast> for Writer<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.body(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.body(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_expr_binary(&mut self, expression: &'ast syn::ExprBinary) {
        self.binary(expression);
        visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_unary(&mut self, expression: &'ast syn::ExprUnary) {
        self.unary(expression);
        visit::visit_expr_unary(self, expression);
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        self.catches_all.push(expression.arms.iter().any(catches_all));
        visit::visit_expr_match(self, expression);
        self.catches_all.pop();
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.arm(arm);
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, literal: &'ast syn::ExprStruct) {
        self.fields(literal);
        visit::visit_expr_struct(self, literal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::{Place, Span};

    /// The mutant of a kind that puts `replacement` in the place of what is found first in the text.
    fn mutant(text: &str, genre: Genre, found: &str, replacement: &str) -> Mutant {
        let start = text.find(found).unwrap();
        let place = |at: usize| Place {
            line: 1,
            column: text[..at].chars().count() + 1,
        };
        Mutant {
            file: "f.rs".into(),
            genre,
            name: String::new(),
            replacement: replacement.into(),
            span: Span {
                start: place(start),
                end: place(start + found.len()),
            },
        }
    }

    fn rewritten(text: &str, changes: &[(Genre, &str, &str)]) -> String {
        let mutants: Vec<Mutant> = changes
            .iter()
            .map(|(genre, found, replacement)| mutant(text, *genre, found, replacement))
            .collect();
        let numbered: Vec<(Number, &Mutant)> = (1..).zip(&mutants).collect();
        let switched = switched(text, &numbered).unwrap();
        assert_eq!(switched.numbers.len(), changes.len(), "{}", switched.text);
        for (at, number) in &switched.marks {
            assert!(
                switched.text[at.clone()].contains(&number.to_string()) || switched.text[at.clone()].contains("active")
            );
        }
        syn::parse_file(&switched.text).unwrap();
        switched.text.replace("crate::mutant::", "")
    }

    #[test]
    fn operators_nest_and_operands_are_written_once() {
        assert_eq!(
            rewritten(
                "fn f() { g(é, a && b == !c) }",
                &[
                    (Genre::BinaryOperator, "&&", "||"),
                    (Genre::BinaryOperator, "==", "!="),
                    (Genre::UnaryOperator, "!", ""),
                ],
            ),
            "fn f() { g(é, ({ let left_ = a ; let or_ = is(1); if left_ != or_ {  ((b == ((c) == is(3))) != is(2)) } else { or_ } })) }"
        );
    }

    #[test]
    fn a_comparison_and_a_sum_have_an_arm_for_each_other_operator() {
        assert_eq!(
            rewritten(
                "fn f() { a < 3 }",
                &[(Genre::BinaryOperator, "<", "=="), (Genre::BinaryOperator, "<", ">")]
            ),
            "fn f() { (match (&(a ), &( 3)) { (left_, right_) => match active() { \
             1 => *left_ == *right_, 2 => *left_ > *right_, _ => *left_ < *right_, } } ) }"
        );
        assert_eq!(
            rewritten("fn f() { a.b += c; }", &[(Genre::BinaryOperator, "+=", "-=")]),
            "fn f() { { let right_ =  c; match active() { 1 => a.b -= right_, _ => a.b += right_, } } ; }"
        );
    }

    #[test]
    fn a_function_gives_a_value_at_once_and_an_arm_or_a_guard_goes() {
        assert_eq!(
            rewritten(
                "fn f() -> bool { match a { 1 if p => c, 2 => d, _ => e } }",
                &[
                    (Genre::FnValue, "match a { 1 if p => c, 2 => d, _ => e }", "true"),
                    (Genre::MatchArmGuard, "p", "false"),
                    (Genre::MatchArm, "2 => d,", ""),
                ],
            ),
            "fn f() -> bool { if is(1) { return true; } match a { 1 if (((p))  && !is(2)) => c, 2 if true && !is(3) => d, _ => e } }"
        );
    }

    #[test]
    fn what_cannot_be_switched_is_left_to_be_built_alone() {
        let text = "fn f() -> impl Fn() { g } fn h() { match a { _ if b => c, 2 => d } }";
        let mutants = [
            mutant(text, Genre::FnValue, "g", "h"),
            mutant(text, Genre::MatchArm, "2 => d", ""),
        ];
        let numbered: Vec<(Number, &Mutant)> = (1..).zip(&mutants).collect();
        let switched = switched(text, &numbered).unwrap();
        assert_eq!((switched.text.as_str(), switched.numbers), (text, Vec::new()));
        assert_eq!(mutants[1].applied(text), text.replace("2 => d", ""));
    }

    #[test]
    fn an_operator_that_would_group_its_operands_otherwise_is_left_to_be_built_alone() {
        let numbers = |text: &str, found: &str, other: &str| {
            let mutant = mutant(text, Genre::BinaryOperator, found, other);
            switched(text, &[(1, &mutant)]).unwrap().numbers
        };
        for text in ["fn f() { a * b + c }", "fn f() { (a + b) * c }"] {
            assert_eq!(numbers(text, "+", "-"), [1], "{text}");
        }
        assert_eq!(numbers("fn f() { a + (b + c) }", "+", "*"), [1]);
        assert_eq!(numbers("fn f() { a == b && c }", "&&", "||"), [1]);
        // In the text these become a + (b * c) and a || (b && c).
        assert_eq!(numbers("fn f() { d - b + c }", "+", "*"), Vec::<Number>::new());
        assert_eq!(numbers("fn f() { a && b && c }", "&&", "||"), Vec::<Number>::new());
    }
}
