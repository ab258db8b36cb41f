//! How a pull or an import goes on, for people: a bar for each layer on a terminal, one line elsewhere.

use crate::{printer::Printer, terminal};
use agentkernel_image::{LayerState, Progress};
use agentkernel_model::image::{Digest, Reference};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};

/// What is transferred, shown on stderr.
#[derive(Debug)]
pub(crate) struct Bars {
    what: String,
    printer: Printer,
    look: Look,
    /// Told once, when the first layer is known: what is here already is no news.
    told: OnceLock<()>,
    bars: Mutex<BTreeMap<Digest, ProgressBar>>,
    all: MultiProgress,
}

/// Who looks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Terminal,
    /// A log, or nobody.
    Lines,
    /// A program that reads JSON.
    Nothing,
}

impl Bars {
    pub(crate) fn pulling(reference: &Reference, printer: Printer, json: bool) -> Self {
        Self::new(format!("pulling {reference}"), printer, json)
    }

    pub(crate) fn new(what: String, printer: Printer, json: bool) -> Self {
        let look = match (json, terminal::stderr_is_terminal()) {
            (true, _) => Look::Nothing,
            (false, true) => Look::Terminal,
            (false, false) => Look::Lines,
        };
        Self { what, printer, look, told: OnceLock::new(), bars: Mutex::default(), all: MultiProgress::new() }
    }

    fn tell(&self) {
        if self.look != Look::Nothing {
            self.told.get_or_init(|| self.printer.note(&self.what));
        }
    }

    fn with(&self, layer: &Digest, act: impl FnOnce(&ProgressBar)) {
        let bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = bars.get(layer) {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn layer(&self, layer: &Digest, total: Option<u64>) {
        self.tell();
        if self.look != Look::Terminal {
            return;
        }
        let bar = ProgressBar::new(total.unwrap_or(0));
        let style = ProgressStyle::with_template("{prefix} {bar:30} {bytes:>10}/{total_bytes:10} {msg}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(layer.hex()[..12].to_owned());
        let bar = self.all.add(bar);
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.clone(), bar);
    }

    fn state(&self, layer: &Digest, state: LayerState) {
        self.with(layer, |bar| match state {
            LayerState::Waiting => bar.set_message("waiting for another pull"),
            LayerState::Downloading => bar.set_message("downloading"),
            LayerState::Unpacking => bar.set_message("unpacking"),
            LayerState::Done | LayerState::Present => bar.finish_and_clear(),
        });
    }

    fn bytes(&self, layer: &Digest, done: u64) {
        self.with(layer, |bar| bar.set_position(done));
    }

    fn note(&self, message: &str) {
        match self.look {
            // Above the bars, which are drawn again.
            Look::Terminal => self.all.suspend(|| self.printer.note(message)),
            Look::Lines => self.printer.note(message),
            Look::Nothing => {}
        }
    }
}
