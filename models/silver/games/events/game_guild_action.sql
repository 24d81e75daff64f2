{#- One row per guild_action event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('guild_action', [
        {'name': 'group_id', 'type': 'string', 'required_from': 1},
        {'name': 'action', 'type': 'string', 'required_from': 1,
         'values': ['created', 'joined', 'left', 'invited', 'donated']},
        {'name': 'target_player_id', 'type': 'string'},
    ])
}}
