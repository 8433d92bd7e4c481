//! Sampling from a language: masking and ASAp against the model's own distribution over all words, counted out.

use std::collections::BTreeMap;
use std::sync::Arc;

use rltrain::policy::Policy;
use rltrain::rollout::grammar::{GrammarError, GrammarMethod, Language, PrefixAcceptor, TokenSet};
use rltrain::rollout::{Completion, Finish, Request, Sampling, generate};
use tch::Kind;

use super::{logprobs_alone, tiny_policy};

const PROMPT: &str = "bits: ";

/// A finite language over tokens: `00000` and every five bits that begin with 1, each with one of the ends.
#[derive(Clone, Debug)]
struct Words(Vec<Vec<i64>>);

struct Prefix {
    words: Vec<Vec<i64>>,
    read: Vec<i64>,
}

fn words(policy: &Policy) -> Words {
    let bits = |number: i64| (0..5).rev().map(move |bit| i64::from(b'0') + (number >> bit & 1));
    let numbers = std::iter::once(0).chain(16..32);
    let ends = &policy.tokenizer.stop_ids;
    Words(
        numbers.flat_map(|number| ends.iter().map(move |end| bits(number).chain([*end]).collect())).collect(),
    )
}

impl Language for Words {
    fn acceptor(&self) -> Box<dyn PrefixAcceptor> {
        Box::new(Prefix { words: self.0.clone(), read: Vec::new() })
    }
}

impl PrefixAcceptor for Prefix {
    fn allowed(&mut self) -> Result<TokenSet, GrammarError> {
        let next = self.words.iter().filter(|word| word.starts_with(&self.read));
        Ok(TokenSet::of(next.filter_map(|word| word.get(self.read.len())).map(|token| *token as usize)))
    }

    fn accept(&mut self, token: i64) -> Result<(), GrammarError> {
        self.read.push(token);
        let is_prefix = self.words.iter().any(|word| word.starts_with(&self.read));
        if is_prefix { Ok(()) } else { Err(GrammarError(format!("{:?}", self.read))) }
    }
}

/// Samples of the prompt in the order in which they ended.
fn sample(policy: &Policy, method: GrammarMethod, samples: usize, max_batch: usize) -> Vec<Completion> {
    let requests =
        [Request { prompt: PROMPT.bytes().map(i64::from).collect(), samples, ..Request::default() }];
    let grammar = Some((Arc::new(words(policy)) as Arc<dyn Language>, method));
    let sampling = Sampling { grammar, max_batch, max_tokens: 8, ..Sampling::default() };
    let mut completions = Vec::new();
    let model = tch::no_grad(|| policy.model());
    generate(&model, &policy.tokenizer, &requests, &sampling, &mut |completion| completions.push(completion))
        .unwrap();
    completions
}

/// The model's own log-probability of each word, of its tokens one by one.
fn own(policy: &Policy) -> BTreeMap<Vec<i64>, Vec<f64>> {
    let model = tch::no_grad(|| policy.model());
    let prompt: Vec<i64> = PROMPT.bytes().map(i64::from).collect();
    let logprobs = |word: Vec<i64>| {
        let logprobs = logprobs_alone(&model, &prompt, &word, 1.0);
        (word, Vec::<f64>::try_from(logprobs.to_kind(Kind::Double)).unwrap())
    };
    words(policy).0.into_iter().map(logprobs).collect()
}

fn total(logprobs: &[f32]) -> f64 {
    logprobs.iter().map(|logprob| f64::from(*logprob)).sum()
}

/// Observed 2e-6 nats.
#[test]
fn masked_samples_are_words_and_their_logprobs_are_those_of_what_was_left() {
    let policy = tiny_policy(Kind::Float);
    let own = own(&policy);
    let mut probability = BTreeMap::new();
    for completion in sample(&policy, GrammarMethod::Mask, 600, 32) {
        let Completion { tokens, logprobs, unshaped_logprobs, finish, .. } = &completion;
        let whole = own.get(tokens).unwrap_or_else(|| panic!("{tokens:?} is no word"));
        assert_eq!(*finish, Finish::Stop);
        for (place, logprob) in logprobs.iter().enumerate() {
            assert!((f64::from(unshaped_logprobs[place]) - whole[place]).abs() < 1e-5);
            let mut left: BTreeMap<i64, f64> = BTreeMap::new();
            for (word, whole) in own.iter().filter(|(word, _)| word.starts_with(&tokens[..place])) {
                left.insert(word[place], whole[place].exp());
            }
            let wanted = (left[&tokens[place]] / left.values().sum::<f64>()).ln();
            assert!(
                (f64::from(*logprob) - wanted).abs() < 1e-4,
                "{tokens:?} at {place}: {logprob}, {wanted}"
            );
        }
        probability.insert(tokens.clone(), total(logprobs).exp());
    }
    // What never came is improbable.
    let sum: f64 = probability.values().sum();
    assert!((0.97..1.0001).contains(&sum), "{sum} of {} words", probability.len());
    let zeros: f64 = probability
        .iter()
        .filter(|(word, _)| word[1] == i64::from(b'0') && word[0] == i64::from(b'0'))
        .map(|(_, p)| p)
        .sum();
    assert!(zeros > 0.3, "masking prefers what begins well: {zeros}");
}

/// Once every prefix was seen, the probability of a word is its share among the words, as the model has it. Observed 4e-6 nats.
#[test]
fn asap_comes_to_the_models_own_distribution_over_the_language() {
    let policy = tiny_policy(Kind::Float);
    let own = own(&policy);
    let all: f64 = own.values().map(|whole| whole.iter().sum::<f64>().exp()).sum();
    let completions = sample(&policy, GrammarMethod::Asap, 400, 1);
    for completion in &completions[350..] {
        let wanted = own[&completion.tokens].iter().sum::<f64>() - all.ln();
        let found = total(&completion.logprobs);
        assert!((found - wanted).abs() < 1e-3, "{:?}: {found}, {wanted}", completion.tokens);
    }
    // Beside each other they learn more slowly, and stay words.
    for completion in sample(&policy, GrammarMethod::Asap, 100, 16) {
        assert!(own.contains_key(&completion.tokens), "{:?}", completion.tokens);
    }
}
