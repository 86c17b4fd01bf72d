//! Weaves the mutants of one file into its text, each behind its switch.
//!
//! Everything is an insertion, so what is woven nests as the expressions do:
//!
//! ```text
//! a < b        (if crate::mutant::on(7) { a == b } else { a < b })
//! !a           (if crate::mutant::on(8) { a } else { !a })
//! fn f() { … } fn f() { if crate::mutant::on(9) { return Ok(()); } … }
//! p => …       p if !crate::mutant::on(10) => …
//! p if g => …  p if (crate::mutant::on(11) || (!crate::mutant::on(12) && (g))) => …
//! ```

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::list::{Kind, Mutant};

/// A file with its mutants.
pub(crate) struct Woven {
    pub(crate) text: String,
    /// Where the text of each mutant stands.
    pub(crate) places: Vec<(Range<usize>, u32)>,
}

/// Weaves `mutants` into `text`; what has no place where a switch can stand is left out.
pub(crate) fn weave(text: &str, mutants: &[&Mutant]) -> Result<Woven, syn::Error> {
    let file = syn::parse_file(text)?;
    let lines = Lines::of(text);
    let mut by_place: HashMap<(usize, bool), Vec<Found>> = HashMap::new();
    for mutant in mutants {
        let range = lines.offset(mutant.start)..lines.offset(mutant.end);
        let place = (range.start, mutant.kind == Kind::FnValue);
        let replacement = mutant.replacement.clone();
        let found = Found { id: mutant.id, kind: mutant.kind, range, replacement };
        by_place.entry(place).or_default().push(found);
    }
    let mut weaver = Weaver { text, by_place, constant: 0, chain: None, insertions: Vec::new() };
    weaver.visit_file(&file);
    Ok(weaver.finish())
}

struct Found {
    id: u32,
    kind: Kind,
    range: Range<usize>,
    replacement: String,
}

struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    fn offset(&self, (line, column): (usize, usize)) -> usize {
        let start = self.starts[line - 1];
        let before = self.text[start..].chars().take(column - 1);
        start + before.map(char::len_utf8).sum::<usize>()
    }
}

struct Insertion {
    at: usize,
    /// What it belongs to. Where several stand, those that close come first, the innermost before the
    /// others, and then those that open, the outermost first.
    of: Range<usize>,
    closes: bool,
    pieces: Vec<(String, Option<u32>)>,
}

struct Weaver<'a> {
    text: &'a str,
    by_place: HashMap<(usize, bool), Vec<Found>>,
    /// How many things around here are computed by the compiler, where no switch can be read.
    constant: usize,
    /// The outermost of the operators around here with nothing between them.
    chain: Option<Range<usize>>,
    insertions: Vec<Insertion>,
}

impl Weaver<'_> {
    fn at(&mut self, span: Span, body: bool, kinds: &[Kind]) -> Vec<Found> {
        if self.constant > 0 {
            return Vec::new();
        }
        let place = (span.byte_range().start, body);
        let Some(found) = self.by_place.get_mut(&place) else { return Vec::new() };
        found.extract_if(.., |found| kinds.contains(&found.kind)).collect()
    }

    fn open(&mut self, of: Range<usize>, pieces: Vec<(String, Option<u32>)>) {
        self.insertions.push(Insertion { at: of.start, of, closes: false, pieces });
    }

    fn close(&mut self, of: Range<usize>, pieces: Vec<(String, Option<u32>)>) {
        self.insertions.push(Insertion { at: of.end, of, closes: true, pieces });
    }

    /// Puts the mutants of an expression before it, as the other branches of an `if`.
    fn branch(&mut self, whole: Range<usize>, found: Vec<Found>) {
        if found.is_empty() {
            return;
        }
        let mut pieces = vec![("(".to_owned(), None)];
        for Found { id, range, replacement, .. } in found {
            let before = &self.text[whole.start..range.start];
            let after = &self.text[range.end..whole.end];
            pieces.push((format!("if crate::mutant::on({id}) {{ "), None));
            pieces.push((format!("{before}{replacement}{after}"), Some(id)));
            pieces.push((" } else ".to_owned(), None));
        }
        pieces.push(("{ ".to_owned(), None));
        self.open(whole.clone(), pieces);
        self.close(whole, vec![(" })".to_owned(), None)]);
    }

    /// Lets a body return at once. Where its type has no name, two returns would be two types.
    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let is_nameless =
            matches!(&signature.output, syn::ReturnType::Type(_, ty) if has_no_name(ty));
        let Some(first) = block.stmts.first().filter(|_| !is_nameless) else { return };
        let found = self.at(first.span(), true, &[Kind::FnValue]);
        let braces = &block.brace_token.span;
        let inside = braces.open().byte_range().end..braces.close().byte_range().start;
        for Found { id, replacement, .. } in found {
            let pieces = vec![
                (format!(" if crate::mutant::on({id}) {{ "), None),
                (format!("return {replacement};"), Some(id)),
                (" }".to_owned(), None),
            ];
            self.open(inside.clone(), pieces);
        }
    }

    fn constant(&mut self, is: bool, inside: impl FnOnce(&mut Self)) {
        self.constant += usize::from(is);
        inside(self);
        self.constant -= usize::from(is);
    }

    fn finish(mut self) -> Woven {
        let mut order: Vec<_> = (0..).zip(std::mem::take(&mut self.insertions)).collect();
        order.sort_by_key(|(nth, it): &(i64, Insertion)| {
            let Range { start, end } = it.of;
            if it.closes {
                (it.at, 0, Reverse(start), -nth)
            } else {
                (it.at, 1, Reverse(end), *nth)
            }
        });
        let mut woven = Woven { text: String::new(), places: Vec::new() };
        let mut done = 0;
        for (_, insertion) in order {
            woven.text.push_str(&self.text[done..insertion.at]);
            done = insertion.at;
            for (piece, id) in insertion.pieces {
                let start = woven.text.len();
                woven.text.push_str(&piece);
                woven.places.extend(id.map(|id| (start..woven.text.len(), id)));
            }
        }
        woven.text.push_str(&self.text[done..]);
        woven
    }
}

impl<'ast> Visit<'ast> for Weaver<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.constant(item.sig.constness.is_some(), |weaver| {
            weaver.body(&item.sig, &item.block);
            visit::visit_item_fn(weaver, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.constant(item.sig.constness.is_some(), |weaver| {
            weaver.body(&item.sig, &item.block);
            visit::visit_impl_item_fn(weaver, item);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constant(true, |weaver| visit::visit_item_const(weaver, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.constant(true, |weaver| visit::visit_item_static(weaver, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constant(true, |weaver| visit::visit_impl_item_const(weaver, item));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.constant(true, |weaver| visit::visit_variant(weaver, variant));
    }

    fn visit_type(&mut self, ty: &'ast syn::Type) {
        self.constant(true, |weaver| visit::visit_type(weaver, ty));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        // Another operator may bind otherwise, so what it changes is all that is bound together here.
        let outermost = self.chain.take();
        let chain = if binds_names(binary) {
            None
        } else {
            outermost.clone().or_else(|| Some(binary.span().byte_range()))
        };
        if let Some(chain) = &chain {
            let found = self.at(binary.op.span(), false, &[Kind::BinaryOperator]);
            self.branch(chain.clone(), found);
        }
        for side in [&binary.left, &binary.right] {
            self.chain = chain.clone().filter(|_| matches!(**side, syn::Expr::Binary(_)));
            self.visit_expr(side);
        }
        self.chain = None;
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let found = self.at(unary.op.span(), false, &[Kind::UnaryOperator]);
        self.branch(unary.span().byte_range(), found);
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, matched: &'ast syn::ExprMatch) {
        // An arm with a condition covers nothing, as the compiler sees it.
        let others_are_covered =
            matched.arms.iter().any(|arm| matches!(arm.pat, syn::Pat::Wild(_)));
        for arm in matched.arms.iter().filter(|_| others_are_covered) {
            for Found { id, .. } in self.at(arm.span(), false, &[Kind::MatchArm]) {
                let pattern = arm.pat.span().byte_range();
                let condition = format!(" if !crate::mutant::on({id})");
                self.close(pattern, vec![(condition, Some(id))]);
            }
        }
        visit::visit_expr_match(self, matched);
    }

    fn visit_pat_guard(&mut self, guarded: &'ast syn::PatGuard) {
        let guard = &guarded.guard;
        let range = guard.span().byte_range();
        for Found { id, replacement, .. } in self.at(guard.span(), false, &[Kind::MatchArmGuard]) {
            let (switch, and) = if replacement == "true" { ("", "||") } else { ("!", "&&") };
            let before = format!("({switch}crate::mutant::on({id}) {and} (");
            self.open(range.clone(), vec![(before, Some(id))]);
            self.close(range.clone(), vec![("))".to_owned(), None)]);
        }
        visit::visit_pat_guard(self, guarded);
    }
}

/// Whether the expression is a chain with a `let`, which can stand in an `if` alone.
fn binds_names(binary: &syn::ExprBinary) -> bool {
    let of = |side: &syn::Expr| match side {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(inner) => binds_names(inner),
        _ => false,
    };
    matches!(binary.op, syn::BinOp::And(_)) && (of(&binary.left) || of(&binary.right))
}

fn has_no_name(ty: &syn::Type) -> bool {
    match ty {
        syn::Type::ImplTrait(_) => true,
        syn::Type::Paren(inner) => has_no_name(&inner.elem),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weaves in what replaces the `nth` place (from 0) where `old` stands.
    fn woven(text: &str, changes: &[(Kind, &str, usize, &str)]) -> String {
        let place = |at: usize| {
            let line = text[..at].matches('\n').count() + 1;
            (line, at - text[..at].rfind('\n').map_or(0, |end| end + 1) + 1)
        };
        let mutants: Vec<Mutant> = (1..)
            .zip(changes)
            .map(|(id, (kind, old, nth, new))| {
                let (at, old) = text.match_indices(old).nth(*nth).expect("it is there");
                Mutant {
                    id,
                    key: String::new(),
                    name: String::new(),
                    file: String::new(),
                    kind: *kind,
                    start: place(at),
                    end: place(at + old.len()),
                    replacement: (*new).to_owned(),
                }
            })
            .collect();
        let woven = weave(text, &mutants.iter().collect::<Vec<_>>()).expect("it is Rust");
        syn::parse_file(&woven.text).expect("it still is");
        woven.text.replace("crate::mutant::", "")
    }

    #[test]
    fn operators_become_branches_and_nest() {
        let text = "fn f() -> bool { a + b < c && !d }";
        let changes = [
            (Kind::BinaryOperator, "&&", 0, "||"),
            (Kind::BinaryOperator, "<", 0, "=="),
            (Kind::BinaryOperator, "<", 0, ">"),
            (Kind::UnaryOperator, "!", 0, ""),
        ];
        assert_eq!(
            woven(text, &changes),
            "fn f() -> bool { (if on(1) { a + b < c || !d } else { \
             (if on(2) { a + b == c && !d } else if on(3) { a + b > c && !d } else { \
             a + b < c && (if on(4) { d } else { !d }) }) }) }"
        );
    }

    /// The later operator changes the whole chain, which begins where the negation does.
    #[test]
    fn what_begins_at_one_place_nests_by_where_it_ends() {
        let changes = [(Kind::UnaryOperator, "!", 0, ""), (Kind::BinaryOperator, ">", 1, ">=")];
        assert_eq!(
            woven("fn f() -> bool { !a && b > c }", &changes),
            "fn f() -> bool { (if on(2) { !a && b >= c } else { \
             (if on(1) { a } else { !a }) && b > c }) }"
        );
    }

    #[test]
    fn bodies_return_early_and_arms_are_passed() {
        let text = "fn f(x: u8) -> u8 { match x { 1 if a < b => 3, 2 => 4, _ => 5 } }";
        let changes = [
            (Kind::FnValue, "match x { 1 if a < b => 3, 2 => 4, _ => 5 }", 0, "0"),
            (Kind::MatchArmGuard, "a < b", 0, "true"),
            (Kind::MatchArmGuard, "a < b", 0, "false"),
            (Kind::MatchArm, "2 => 4,", 0, ""),
        ];
        assert_eq!(
            woven(text, &changes),
            "fn f(x: u8) -> u8 { if on(1) { return 0; } match x { \
             1 if (on(2) || ((!on(3) && (a < b)))) => 3, 2 if !on(4) => 4, _ => 5 } }"
        );
    }

    #[test]
    fn where_no_switch_can_be_read_there_is_none() {
        let text = "const A: u8 = 1 + 2; const fn f() -> u8 { 3 * 4 } \
                    fn g() { if let Some(x) = y && x == 5 {} }";
        let changes = [
            (Kind::BinaryOperator, "+", 0, "-"),
            (Kind::BinaryOperator, "*", 0, "+"),
            (Kind::BinaryOperator, "&&", 0, "||"),
        ];
        assert_eq!(woven(text, &changes), text);
    }
}
