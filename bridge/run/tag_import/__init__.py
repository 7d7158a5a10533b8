"""From what a historian knows about its tags to a tag list, assets, an events table and metadata, by a naming rule."""
