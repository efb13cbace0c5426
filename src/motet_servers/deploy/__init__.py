"""The deploy server: releases put in place, started, checked, and taken back (`deploy://`)."""
