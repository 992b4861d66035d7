//! The user's terminal: every key goes to the guest while a run lasts, and it is given back as it was found, also after a
//! panic or a signal.

use std::io::stdin;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr,
    tcsetattr,
};

/// The terminal as it was found, while it is changed.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// Holds the terminal; dropping it gives it back.
pub struct Raw;

impl Raw {
    /// Takes the terminal, if the input is one.
    pub fn enter() -> Option<Self> {
        if !isatty(stdin()) {
            return None;
        }
        let found = tcgetattr(stdin()).ok()?;
        let mut raw = found.clone();
        raw.local_modes -=
            LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        raw.input_modes -= InputModes::ICRNL
            | InputModes::INLCR
            | InputModes::IXON
            | InputModes::ISTRIP
            | InputModes::BRKINT;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        give_back_on_panic();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if let Some(found) = FOUND.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nothing can be done if the terminal is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &found);
    }
}

/// A panic ends the program without dropping anything.
fn give_back_on_panic() {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        give_back();
        earlier(info);
    }));
}
