//! Names and numbers.

/// An ordered list of `(name, number)`. Names are those that users of TRL and verl know, such as `reward` and `ratio/max`; `docs/metrics.md` defines each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    /// No metrics yet.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Adds a metric at the end; one of the same name keeps its place and takes the new value.
    pub fn push(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The metrics in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The value of `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_a_name_occurs_once() {
        let mut metrics = Metrics::new();
        metrics.push("b/x", 1.0);
        metrics.push("a/x", 2.0);
        metrics.push("b/x", 3.0);
        assert_eq!(metrics.iter().collect::<Vec<_>>(), [("b/x", 3.0), ("a/x", 2.0)]);
        assert_eq!((metrics.get("a/x"), metrics.get("c/x")), (Some(2.0), None));
    }
}
