"""The Jira server: issues, comments, links, transitions, sprints, boards, assignees."""
