//! Which process of a run this is: what torchrun or Slurm put into the environment.

use std::env::VarError;
use std::ffi::OsStr;

use thiserror::Error;

/// The place of this process among those that train one policy together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the process, from 0.
    pub rank: usize,
    /// How many there are.
    pub world: usize,
    /// Number of the process on its machine, from 0: the GPU that it takes.
    pub local_rank: usize,
    /// How many there are on its machine, which share its cores.
    pub local_world: usize,
    /// Where the store is.
    pub store: (String, u16),
    /// Whether this process serves the store.
    pub serves: bool,
    /// Whether torchrun serves it.
    pub agent_serves: bool,
    /// What tells this start from others that had the same store.
    pub start: String,
}

/// What is wrong with what the environment says.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// A variable is missing.
    #[error(
        "`{with}` is set, and `{name}` is not; torchrun sets both, and so does Slurm's `srun` for its own names"
    )]
    Missing {
        /// The variable.
        name: &'static str,
        /// One that is there.
        with: &'static str,
    },
    /// A variable is no number.
    #[error("the environment variable `{name}` is `{found}`, wanted {wanted}")]
    Number {
        /// The variable.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A rank that is not below the number of ranks.
    #[error("the environment says rank {rank} of {world}; ranks count from 0")]
    Rank {
        /// The rank.
        rank: usize,
        /// How many there are.
        world: usize,
    },
}

/// How Slurm's variables are called, in the order of `RANK`, `WORLD_SIZE`, `LOCAL_RANK` and `LOCAL_WORLD_SIZE`.
const SLURM: [&str; 4] = ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"];

/// The lowest port that is derived from a Slurm job's number, and how many there are.
const SLURM_PORTS: (u64, u64) = (20_000, 10_000);

impl Place {
    /// What the environment of this process says; `None` if it is alone.
    ///
    /// `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` are torchrun's names, and win. Else,
    /// inside `srun`, Slurm's: the store is then on the node of the job's first task, at a port that derives from the job's
    /// number; `MASTER_ADDR` and `MASTER_PORT` win over both.
    ///
    /// # Errors
    ///
    /// If variables contradict each other or are no numbers.
    pub fn from_environment() -> Result<Option<Place>, PlaceError> {
        Place::from(|name| match std::env::var(name) {
            Ok(value) => Some(value),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(value)) => Some(OsStr::to_string_lossy(&value).into_owned()),
        })
    }

    /// As [`Place::from_environment`], of the variables that `variable` knows.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Place>, PlaceError> {
        let environment = Environment { variable };
        let place = if environment.has("RANK") || environment.has("WORLD_SIZE") {
            environment.of_torchrun()?
        } else if environment.has(SLURM[0]) && environment.has("SLURM_STEP_ID") {
            environment.of_slurm()?
        } else {
            return Ok(None);
        };
        if place.rank >= place.world {
            return Err(PlaceError::Rank { rank: place.rank, world: place.world });
        }
        Ok((place.world > 1).then_some(place))
    }
}

struct Environment<F> {
    variable: F,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    fn has(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| !value.is_empty())
    }

    fn text(&self, name: &'static str, with: &'static str) -> Result<String, PlaceError> {
        let value = (self.variable)(name).filter(|value| !value.is_empty());
        value.ok_or(PlaceError::Missing { name, with })
    }

    fn number(&self, name: &'static str, with: &'static str) -> Result<usize, PlaceError> {
        let found = self.text(name, with)?;
        found.trim().parse().map_err(|_| PlaceError::Number { name, found, wanted: "a number from 0" })
    }

    fn number_or(&self, name: &'static str, other: usize) -> Result<usize, PlaceError> {
        if self.has(name) { self.number(name, name) } else { Ok(other) }
    }

    fn port(&self, with: &'static str) -> Result<u16, PlaceError> {
        let (name, wanted) = ("MASTER_PORT", "a port");
        let found = self.text(name, with)?;
        found.trim().parse().map_err(|_| PlaceError::Number { name, found, wanted })
    }

    fn of_torchrun(&self) -> Result<Place, PlaceError> {
        let rank = self.number("RANK", "WORLD_SIZE")?;
        let world = self.number("WORLD_SIZE", "RANK")?;
        // A process that is told it is the only one needs nobody to find.
        let store = if world == 1 && !self.has("MASTER_ADDR") {
            (String::new(), 0)
        } else {
            (self.text("MASTER_ADDR", "RANK")?, self.port("RANK")?)
        };
        let agent_serves =
            (self.variable)("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
        let variable = |name| (self.variable)(name).unwrap_or_default();
        let start = format!("{}/{}", variable("TORCHELASTIC_RUN_ID"), variable("TORCHELASTIC_RESTART_COUNT"));
        Ok(Place {
            rank,
            world,
            local_rank: self.number_or("LOCAL_RANK", 0)?,
            local_world: self.number_or("LOCAL_WORLD_SIZE", 1)?,
            store,
            serves: rank == 0 && !agent_serves,
            agent_serves,
            start,
        })
    }

    fn of_slurm(&self) -> Result<Place, PlaceError> {
        let [rank_name, world_name, local_name, per_node_name] = SLURM;
        let rank = self.number(rank_name, "SLURM_STEP_ID")?;
        let variable = |name: &str| (self.variable)(name).unwrap_or_default();
        let host = if self.has("MASTER_ADDR") {
            variable("MASTER_ADDR")
        } else {
            first_node(&self.text("SLURM_STEP_NODELIST", rank_name)?)
        };
        let job = variable("SLURM_JOB_ID");
        let port = if self.has("MASTER_PORT") {
            self.port(rank_name)?
        } else {
            let (lowest, count) = SLURM_PORTS;
            let port = lowest + job.parse::<u64>().unwrap_or(0) % count;
            u16::try_from(port).expect("it is below 30,000")
        };
        let start = format!("{job}/{}/{}", variable("SLURM_STEP_ID"), variable("SLURM_RESTART_COUNT"));
        Ok(Place {
            rank,
            world: self.number(world_name, rank_name)?,
            local_rank: self.number_or(local_name, 0)?,
            local_world: self.number_or(per_node_name, 1)?,
            store: (host, port),
            serves: rank == 0,
            agent_serves: false,
            start,
        })
    }
}

/// The first node of a list as Slurm writes it, such as `gpu[03-05,9],login1`.
fn first_node(list: &str) -> String {
    let Some((name, rest)) = list.split_once('[') else {
        return list.split(',').next().unwrap_or_default().to_owned();
    };
    if name.contains(',') {
        return name.split(',').next().unwrap_or_default().to_owned();
    }
    let number = rest.split(['-', ',', ']']).next().unwrap_or_default();
    let after = rest.split_once(']').map_or("", |(_, after)| after.split(',').next().unwrap_or_default());
    format!("{name}{number}{after}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Option<Place>, PlaceError> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Place::from(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn torchrun_serves_the_store_if_it_says_so() {
        let common = [
            ("RANK", "0"),
            ("WORLD_SIZE", "4"),
            ("LOCAL_RANK", "0"),
            ("LOCAL_WORLD_SIZE", "2"),
            ("MASTER_ADDR", "node1"),
            ("MASTER_PORT", "29500"),
            // A job of Slurm that starts torchrun.
            ("SLURM_PROCID", "7"),
            ("SLURM_STEP_ID", "0"),
        ];
        let alone = place(&common).unwrap().unwrap();
        assert_eq!((alone.rank, alone.world, alone.local_world, alone.serves), (0, 4, 2, true));
        assert_eq!(alone.store, ("node1".to_owned(), 29500));
        let mut agent = common.to_vec();
        agent.extend([("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "2")]);
        let agent = place(&agent).unwrap().unwrap();
        assert!(!agent.serves);
        assert_ne!(agent.start, alone.start, "a restart finds none of the keys of the start before");
    }

    #[test]
    fn slurm_says_where_the_first_task_is() {
        let found = place(&[
            ("SLURM_PROCID", "5"),
            ("SLURM_NTASKS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_STEP_NODELIST", "gpu[03-04]"),
            ("SLURM_JOB_ID", "1234567"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!((found.rank, found.world, found.local_rank, found.serves), (5, 8, 1, false));
        assert_eq!(found.store, ("gpu03".to_owned(), 24567));
        assert_eq!(place(&[("SLURM_PROCID", "0")]), Ok(None), "a batch script is not `srun`");
    }

    #[test]
    fn node_lists_are_read_as_slurm_writes_them() {
        let lists = ["a1", "a1,b2", "gpu[7]", "gpu[003-010,12],login", "x,gpu[1-2]", "rack[1-2]n"];
        let firsts = ["a1", "a1", "gpu7", "gpu003", "x", "rack1n"];
        assert_eq!(lists.map(first_node), firsts);
    }

    #[test]
    fn alone_is_alone() {
        assert_eq!(place(&[]), Ok(None));
        assert_eq!(place(&[("RANK", "0"), ("WORLD_SIZE", "1")]), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let missing = place(&[("RANK", "0"), ("WORLD_SIZE", "2")]).unwrap_err();
        assert_eq!(missing, PlaceError::Missing { name: "MASTER_ADDR", with: "RANK" });
        let number = place(&[("RANK", "first"), ("WORLD_SIZE", "2")]).unwrap_err();
        assert!(number.to_string().contains("`RANK` is `first`"), "{number}");
        let beyond = place(&[("RANK", "2"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "1")]);
        assert_eq!(beyond.unwrap_err(), PlaceError::Rank { rank: 2, world: 2 });
    }
}
