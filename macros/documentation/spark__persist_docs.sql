{#- dbt-spark sets every column comment anew after every run, one Delta commit each
    (tests/adapter/test_column_comments.py). Here the present comments are read first, and only
    what differs is written: nothing, or one commit for all columns and one for the table. -#}
{%- macro spark__persist_docs(relation, model, for_relation=true, for_columns=true) -%}
    {%- set described = run_query('describe extended ' ~ relation).rows -%}
    {%- set present = {} -%}
    {%- set state = namespace(in_columns=true, table_comment='') -%}
    {%- for row in described -%}
        {%- set name = row['col_name'] | string -%}
        {%- if row['col_name'] is none or name == '' or name.startswith('#') -%}
            {%- set state.in_columns = false -%}
        {%- elif state.in_columns -%}
            {%- do present.update({name: (row['comment'] or '') | string | trim}) -%}
        {%- elif name == 'Comment' -%}
            {%- set state.table_comment = (row['data_type'] or '') | string | trim -%}
        {%- endif -%}
    {%- endfor -%}

    {%- if for_relation and config.persist_relation_docs()
        and model.description | trim != state.table_comment -%}
        {%- do run_query(
            'comment on table ' ~ relation ~ ' is ' ~ sql_string(model.description | trim)
        ) -%}
    {%- endif -%}
    {%- if for_columns and config.persist_column_docs() -%}
        {%- set changed = {} -%}
        {%- set names = present.keys() | list -%}
        {%- set documented = validate_doc_columns(relation, model.columns, names) -%}
        {%- for name, column in documented.items() -%}
            {%- for present_name, comment in present.items()
                if present_name | lower == name | lower
                and comment != column.description | trim -%}
                {%- do changed.update({name: column}) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- if changed -%}
            {%- do alter_column_comment(relation, changed) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro -%}
