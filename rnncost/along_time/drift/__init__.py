"""What fewer bits do to a recurrent network along time."""

from __future__ import annotations
