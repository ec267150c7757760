//! The users, read again when their file changes, so that a new or removed user needs no restart.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{error, info};

use crate::users::Users;

/// Interval after which the file is read again, at the next request.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// Current users.
pub struct UsersFile {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    users: Arc<Users>,
    /// Content or error of the last reading; empty before the first.
    last: Result<String, String>,
    read: Instant,
}

impl UsersFile {
    /// `users` until the file at `path` has others. Without a path they are fixed.
    #[must_use]
    pub fn new(users: Users, path: Option<PathBuf>) -> Self {
        let state = State {
            users: Arc::new(users),
            last: Ok(String::new()),
            read: Instant::now(),
        };
        Self {
            path,
            state: Mutex::new(state),
        }
    }

    /// Current users. While the file is missing or has an error, which is logged once, these are the ones of before.
    pub fn users(&self) -> Arc<Users> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path
            && state.read.elapsed() >= READ_INTERVAL
        {
            state.read = Instant::now();
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
            if text != state.last {
                match text
                    .clone()
                    .and_then(|text| Users::read(&text).map_err(|problems| problems.join("; ")))
                {
                    Ok(users) if users != *state.users => {
                        info!(users = users.len(); "the users have changed");
                        state.users = Arc::new(users);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        error!(
                            "the users of before are used, because {} cannot be: {error}",
                            path.display()
                        );
                    }
                }
                state.last = text;
            }
        }
        Arc::clone(&state.users)
    }
}
