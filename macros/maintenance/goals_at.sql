{#- The version that each table had at a time (UTC): `relation`, `goal`, and how many commits have
    been `undone` when it is there again. A goal of -1: there was no table then. Refuses where the
    history does not reach back. -#}
{%- macro goals_at(relations, timestamp) -%}
    {%- set goals = [] -%}
    {%- for relation in relations -%}
        {%- set history = run_query('describe history ' ~ relation).rows -%}
        {%- set goal = version_at(history, timestamp) -%}
        {%- if goal == -1 and history[-1]['version'] | int > 0 -%}
            {{- refuse(
                relation ~ ' has no version as old as ' ~ timestamp ~ ' UTC any more, only from '
                ~ utc_text(history[-1]['timestamp']) ~ ' UTC on'
            ) -}}
        {%- endif -%}
        {%- set undone = history[0]['version'] | int - goal -%}
        {%- do goals.append({'relation': relation, 'goal': goal, 'undone': undone}) -%}
    {%- endfor -%}
    {{- return(goals) -}}
{%- endmacro -%}
