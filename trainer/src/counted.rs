//! Numbers of things in words.

/// `1 fault`, `2 faults`: `one` is a noun whose plural ends in `s`.
pub(crate) fn counted(number: usize, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {one}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_several() {
        let texts = [0, 1, 2].map(|number| counted(number, "task"));
        assert_eq!(texts, ["0 tasks", "1 task", "2 tasks"]);
    }
}
