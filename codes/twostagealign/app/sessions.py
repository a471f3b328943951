"""The tabs that are open."""

from pathlib import Path
from threading import Lock

import twostagealign as tsa
from twostagealign.app.session import Session

MOST_SESSIONS = 8
"""Tabs that can be used at a time; each may hold a burst and its result in memory."""


class Sessions:
    """Finds the session of a tab, and of an address. Used from several threads.

    Args:
        folder: folder for the files of all sessions.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._by_tab: dict[str, Session] = {}

    def of_tab(self, tab: str) -> Session:
        """Return the session of a tab, a new one for a new tab; UserError if there are too many."""
        with self._lock:
            if tab not in self._by_tab:
                if len(self._by_tab) >= MOST_SESSIONS:
                    raise tsa.UserError(f"{MOST_SESSIONS} tabs are open; close one, then reload this page")
                self._by_tab[tab] = Session(self._folder)
            return self._by_tab[tab]

    def of_key(self, key: str) -> Session | None:
        """Return the session whose key stands in an address, if there is one."""
        with self._lock:
            return next((session for session in self._by_tab.values() if session.key == key), None)

    def close(self, tab: str) -> None:
        """End the session of a tab that was closed: its work stops, and its files are deleted."""
        with self._lock:
            session = self._by_tab.pop(tab, None)
        if session:
            session.close()

    def close_all(self) -> None:
        """End all sessions."""
        for tab in list(self._by_tab):
            self.close(tab)
