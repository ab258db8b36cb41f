//! Builds test programs and the binary under test, and stages copies that an ordinary user can run.

use super::stages::Target;
use crate::{
    Outcome,
    cargo::{beside_tests, build},
    person::Stage,
    workspace::Package,
};
use std::path::PathBuf;

/// What was built so far; each thing is built once.
#[derive(Debug, Default)]
pub(super) struct Programs {
    agentkernel: Option<PathBuf>,
    mutations: Option<PathBuf>,
    tests: Vec<(String, Target, PathBuf)>,
}

/// Staged copies.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) test: PathBuf,
    /// The binary as it ships, but not optimised and with what tests want of its dependencies.
    pub(super) agentkernel: PathBuf,
    /// The same with the switches that take one defence away.
    pub(super) mutations: PathBuf,
}

impl Programs {
    pub(super) fn prepare(&mut self, stage: &Stage, package: &Package, target: Target) -> Outcome<Built> {
        // Both features write to one place, so each is copied before the next is built.
        let mutations = match &self.mutations {
            Some(path) => path.clone(),
            None => {
                let built = beside_tests("agentkernel", &["--features", "agentkernel/mutations"])?;
                stage.program(&built, "agentkernel-mutations")?
            }
        };
        self.mutations = Some(mutations.clone());
        let agentkernel = match &self.agentkernel {
            Some(path) => path.clone(),
            None => stage.program(&beside_tests("agentkernel", &[])?, "agentkernel")?,
        };
        self.agentkernel = Some(agentkernel.clone());
        Ok(Built { test: self.test(stage, package, target)?, agentkernel, mutations })
    }

    fn test(&mut self, stage: &Stage, package: &Package, target: Target) -> Outcome<PathBuf> {
        let known = self.tests.iter().find(|(name, own, _)| *name == package.name && *own == target);
        if let Some((_, _, path)) = known {
            return Ok(path.clone());
        }
        // Features are those of the whole workspace whichever target is asked for: what it is made of is compiled once.
        let mut words = vec!["test", "--no-run", "--workspace"];
        let name = match target {
            Target::Lib => {
                words.push("--lib");
                package.name.replace('-', "_")
            }
            Target::Test(test) => {
                words.extend(["--test", test]);
                test.to_owned()
            }
        };
        let path = stage.program(&build(&words, &name)?, &format!("test-{}-{name}", package.name))?;
        self.tests.push((package.name.clone(), target, path.clone()));
        Ok(path)
    }
}
