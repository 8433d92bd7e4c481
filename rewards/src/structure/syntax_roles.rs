//! What the nodes of each grammar do, as far as the data-flow graph needs to know.

use super::{Language, Node};

/// What a node does to variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Declares variables with a first value, or none.
    Definition,
    /// Gives variables a new value, pairwise where both sides list as many.
    Assignment,
    /// Changes a variable in place.
    Update,
    /// Branches.
    Branch,
    /// Repeats, with a variable that runs over something.
    Iteration,
    /// Repeats.
    Loop,
    /// Nothing of its own.
    Other,
}

/// The two sides of a definition, an assignment or an iteration.
pub(super) struct Sides<'a> {
    pub(super) left: Option<Node<'a>>,
    pub(super) right: Option<Node<'a>>,
}

pub(super) fn role(language: Language, kind: &str, named: bool) -> Role {
    match (language, kind) {
        (Language::Python, "default_parameter") => Role::Definition,
        (Language::Python, "assignment" | "augmented_assignment" | "for_in_clause") => Role::Assignment,
        (Language::Python, "for_statement") => Role::Iteration,
        (Language::JavaScript | Language::Java, "variable_declarator") => Role::Definition,
        (Language::JavaScript, "assignment_pattern") => Role::Definition,
        (Language::JavaScript, "augmented_assignment_expression") => Role::Assignment,
        (Language::JavaScript, "for_in_statement") | (Language::Java, "enhanced_for_statement") => {
            Role::Iteration
        }
        (Language::C | Language::Cpp, "init_declarator") => Role::Definition,
        (Language::Cpp, "for_range_loop") => Role::Iteration,
        (Language::Rust, "let_declaration") => Role::Definition,
        (Language::Rust, "compound_assignment_expr") => Role::Assignment,
        (Language::Rust, "for_expression") => Role::Iteration,
        (Language::Rust, "loop_expression" | "while_expression") => Role::Loop,
        (Language::Rust, "if_expression") => Role::Branch,
        (Language::Go, "var_spec" | "const_spec") => Role::Definition,
        (Language::Go, "short_var_declaration" | "assignment_statement") => Role::Assignment,
        (Language::Go, "inc_statement" | "dec_statement") => Role::Update,
        (Language::Ruby, "operator_assignment" | "assignment") => Role::Assignment,
        (Language::Ruby, "for") => Role::Iteration,
        (Language::Ruby, "while" | "until") => Role::Loop,
        (Language::Ruby, "if" | "unless" | "elsif") if named => Role::Branch,
        (_, "assignment_expression") => Role::Assignment,
        (_, "update_expression") => Role::Update,
        (_, "if_statement") => Role::Branch,
        (_, "for_statement" | "while_statement" | "do_statement") => Role::Loop,
        _ => Role::Other,
    }
}

/// Names of the fields that hold the sides, in the order in which they are tried.
const LEFT: [&str; 4] = ["left", "name", "pattern", "declarator"];
const RIGHT: [&str; 2] = ["right", "value"];

pub(super) fn sides<'a>(node: Node<'a>) -> Sides<'a> {
    let field = |names: &[&str]| names.iter().find_map(|name| node.child_by_field_name(name));
    let right = match node.kind() {
        // The grammar calls every clause's iterable its right side; of several the last one counts.
        "for_in_clause" => node.last_child(),
        _ => field(&RIGHT),
    };
    Sides { left: field(&LEFT), right }
}

/// Whether a child of a branch begins another way through it.
pub(super) fn alternative(child: Node<'_>) -> bool {
    child.field() == Some("alternative")
        || matches!(child.kind(), "elif_clause" | "else_clause" | "elsif" | "else" if child.is_named())
}
