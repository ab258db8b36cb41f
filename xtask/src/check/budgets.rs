//! How long a file may be. Functions are clippy's business (`too_many_lines`).

use super::{Finding, source::SourceFile};
use crate::workspace::TargetKind;

const PRODUCT: usize = 800;
const TESTS: usize = 1500;

pub(super) fn check(file: &SourceFile) -> Option<Finding> {
    let (budget, what) = match file.kind {
        TargetKind::Product => (PRODUCT, "product"),
        TargetKind::Test => (TESTS, "test"),
    };
    (file.lines > budget).then(|| {
        let why = format!(
            "{} lines, a {what} file may have {budget}: split it by subject, or move its tests to a sibling file",
            file.lines
        );
        Finding::new(&file.path, budget, why)
    })
}
