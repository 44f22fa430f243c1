"""Walks through weight space: lines, planes, basins and averages, with one basis for all of their points."""
